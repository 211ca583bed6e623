"""Measurements in a file of JSON lines, which is added to as they are made and gone on from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from formers.adapt.attention_function import PREFIX
from formers.machine.weights_checksum import add_weights

_NO_FUNCTION = {"_name_or_path", "architectures", "transformers_version", "dtype", "torch_dtype", "use_cache"}
"""Entries of a configuration that change nothing of what a model computes, or that its weights tell."""


class JsonLines:
    """A file whose first line tells what was measured, and every other one a measurement.

    Attributes:
        lines: the measurements so far, of earlier calls too.
        is_new: whether this call has begun the file.
    """

    def __init__(self, path: Path | None, header: dict[str, Any], what: str):
        """Read the file, or begin it; without a path, lines are kept in memory alone.

        Raise ValueError if its header is another one: `what` names the things that it tells apart.
        """
        self.path = path
        self.lines: list[dict[str, Any]] = []
        lines = [] if path is None or not path.exists() else list(_whole_lines(path))
        self.is_new = not lines
        if path is None:
            return
        if self.is_new:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)
        elif lines[0] != json.loads(json.dumps(header)):
            raise ValueError(f"{path} holds measurements of {what}; give another file or folder")
        self.lines = lines[1:]

    def add(self, line: Mapping[str, Any]) -> None:
        """Keep a measurement; it is on the disk when this returns."""
        self.lines.append(dict(line))
        if self.path is not None:
            self._append(line)

    def _append(self, line: Mapping[str, Any]) -> None:
        assert self.path is not None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the measurements in a file, without its header; none if there is no file."""
    return list(_whole_lines(path))[1:] if path.exists() else []


def hash_of_model(model: PreTrainedModel) -> str:
    """Return a hash of a model's weights and configuration: its mixers and positions, too, have often no weights.

    The name of its attention counts where it is a mixer of this library, and not where it only says how the model's own
    is computed. Cost: reads every weight once.
    """
    facts: dict[str, Any] = {"config": _function_of(model.config.to_dict())}
    attention = str(model.config._attn_implementation)
    facts |= {"attention": attention} if attention.startswith(PREFIX) else {}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    add_weights(digest, model)
    return digest.hexdigest()


def hash_of_tokens(ids_bl: Tensor) -> str:
    """Return a hash of tokens and their shape."""
    return hashlib.sha256(f"{tuple(ids_bl.shape)}".encode() + ids_bl.cpu().long().numpy().tobytes()).hexdigest()


def _function_of(config: Any) -> Any:
    """Return a configuration, and those in it, without what changes nothing of what the model computes."""
    if isinstance(config, dict):
        return {str(name): _function_of(value) for name, value in config.items() if name not in _NO_FUNCTION}
    return [_function_of(value) for value in config] if isinstance(config, list | tuple) else config


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Return the lines of a file; a last one that was cut off as its process died is taken off the file."""
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        os.truncate(path, len(whole))  # the rest is not written anew: the disk may be full
    try:
        yield from (json.loads(line) for line in whole.splitlines())
    except ValueError:
        raise ValueError(f"{path} is damaged; remove it to measure anew") from None
