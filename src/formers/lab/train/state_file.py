"""Trees of plain values and tensors as safetensors files: the state of an optimizer, a schedule, or random sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

_TREE = "tree"


def save_state(path: Path, tree: Any) -> None:
    """Write None, numbers, strings, tensors, and lists, tuples and dicts of them. Raise TypeError for anything else."""
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encode(tree, tensors))
    save_file(tensors or {"none": torch.zeros(0)}, str(path), metadata={_TREE: text})


def load_state(path: Path) -> Any:
    """Return what `save_state` wrote, to the bit, with its tensors on the CPU. No code in the file can run."""
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _decode(json.loads(file.metadata()[_TREE]), tensors)


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value as JSON; its tensors are added to `tensors` under their numbers."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_encode(item, tensors) for item in value]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be kept: {value!r}")


def _decode(data: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value that `_encode` made JSON of."""
    if not isinstance(data, dict):
        return data
    [(kind, content)] = data.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _decode(item, tensors) for key, item in content}
    items = [_decode(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
