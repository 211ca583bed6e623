"""The weights of a model that are trained, in files of their own: what a repair keeps instead of the whole model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from formers.machine.files import flush_to_disk, remove


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that take gradients, by name."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def save_weights(weights: Mapping[str, Tensor], path: Path, facts: Mapping[str, Any]) -> None:
    """Write weights and some facts to a file, all of it or nothing; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    remove(part)
    kept = {name: weight.contiguous().cpu() for name, weight in weights.items()}
    save_file(kept, str(part), metadata={"facts": json.dumps(facts)})
    flush_to_disk(part)
    os.replace(part, path)


def saved_facts(path: Path) -> dict[str, Any] | None:
    """Return the facts in a file of weights; None if there is no file."""
    if not path.is_file():
        return None
    with safe_open(str(path), framework="pt") as file:
        facts: dict[str, Any] = json.loads((file.metadata() or {}).get("facts", "{}"))
    return facts


@torch.no_grad()
def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the weights of a file into a model, which keeps all others. Raise ValueError for those that it lacks."""
    own = dict(model.named_parameters())
    saved = load_file(path)
    if unknown := [name for name, weight in saved.items() if name not in own or own[name].shape != weight.shape]:
        raise ValueError(f"{path} holds weights of another model, such as {unknown[0]}; give another folder")
    for name, weight in saved.items():
        own[name].copy_(weight)
