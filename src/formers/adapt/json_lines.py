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


class JsonLines:
    """A file whose first line tells what was measured, and every other one a measurement.

    Attributes:
        lines: the measurements so far, of earlier calls too.
    """

    def __init__(self, path: Path | None, header: dict[str, Any], what: str):
        """Read the file, or begin it; without a path, lines are kept in memory alone.

        Raise ValueError if its header is another one: `what` names the things that it tells apart.
        """
        self.path = path
        self.lines: list[dict[str, Any]] = []
        if path is None:
            return
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)
            return
        lines = list(_whole_lines(path))
        if not lines or lines[0] != header:
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
    """Return a hash of a model's weights, of 1,024 numbers of each."""
    weights = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        weights.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        weights.update(weight.detach().flatten()[:: max(1, weight.numel() // 1024)].cpu().float().numpy().tobytes())
    return weights.hexdigest()


def hash_of_tokens(ids_bl: Tensor) -> str:
    """Return a hash of tokens and their shape."""
    return hashlib.sha256(f"{tuple(ids_bl.shape)}".encode() + ids_bl.cpu().long().numpy().tobytes()).hexdigest()


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Return the lines of a file; a last one that was cut off as its process died is taken off the file."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    try:
        yield from (json.loads(line) for line in whole.splitlines())
    except ValueError:
        raise ValueError(f"{path} is damaged; remove it to measure anew") from None
