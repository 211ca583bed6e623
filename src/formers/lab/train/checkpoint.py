"""Checkpoints that are known to be whole: a list of their files, sizes and hashes is written last."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formers.lab.distributed import ranks
from formers.machine.environment import environment
from formers.machine.files import flush_to_disk

MANIFEST, FORMAT = "complete.json", 2
_KEPT = 2  # the newest, and the one before it in case the newest turns out to be damaged
_DECIDING = ("formers", "torch", "transformers", "commit", "device", "threads", "processes")
"""What may change the last bits of a result."""


class Foreign(ValueError):
    """A checkpoint that this training did not make, or that this version cannot read."""


@dataclass(frozen=True)
class Found:
    """Where a training goes on, and what there is to say about it."""

    path: Path | None
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        return _step_of(self.path) if self.path else 0


def seal(path: Path, job: str, sharded: bool = False) -> None:
    """Writes the manifest of a checkpoint whose files are all there, then removes what is older than the one before it.

    `job` is the fingerprint of what is trained; `sharded` tells whether the model is spread over the ranks.
    """
    files = {}
    for file in _contents(path):
        flush_to_disk(file)
        files[str(file.relative_to(path))] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
    facts = {"format": FORMAT, "job": job, "made_with": made_with(sharded), "files": files}
    part = path / f"{MANIFEST}.part"
    part.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    flush_to_disk(part)
    os.replace(part, path / MANIFEST)
    flush_to_disk(path)
    prune(path.parent, _step_of(path))


def prune(folder: Path, step: int) -> None:
    """Leaves the newest sealed checkpoints up to `step`, and none that was broken off."""
    sealed = [path for path in checkpoints(folder) if _step_of(path) <= step and (path / MANIFEST).is_file()]
    for path in set(checkpoints(folder)) - set(sealed[-_KEPT:]):
        shutil.rmtree(path)


def newest(folder: Path, job: str, sharded: bool = False) -> Found:
    """The newest checkpoint that is whole. Reads only.

    Raises:
        Foreign: for a checkpoint of another job, or in a form of another version.
    """
    notes: list[str] = []
    for path in reversed(checkpoints(folder)):
        if (wrong := _problem(path, job)) is None:
            return Found(path, (*notes, *_changed(path, sharded)))
        notes.append(f"the checkpoint of step {_step_of(path)} cannot be used: {wrong}")
    return Found(None, tuple(notes))


def _problem(path: Path, job: str) -> str | None:
    """Why a checkpoint cannot be used; None for one that is whole."""
    if not (path / MANIFEST).is_file():
        return "it was broken off while it was written"
    try:
        facts = _manifest(path)
    except ValueError:
        return f"its {MANIFEST} cannot be read"
    if facts.get("format") != FORMAT or facts.get("job") != job:
        raise Foreign(
            f"{path} is not a checkpoint that this version of formers made for this training; move it away to train anew"
        )
    for name, expected in facts["files"].items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["bytes"]:
            return f"{name} has {file.stat().st_size} bytes of {expected['bytes']}"
        if _sha256(file) != expected["sha256"]:
            return f"{name} is not what was written"
    return None


def _changed(path: Path, sharded: bool) -> tuple[str, ...]:
    """A note where a checkpoint was made with other versions, or on another machine."""
    before, now = _manifest(path).get("made_with", {}), made_with(sharded)
    names = [name for name in _DECIDING if before.get(name) != now.get(name)]
    if not names:
        return ()
    differences = ", ".join(f"{name} {before.get(name)} → {now.get(name)}" for name in names)
    return (f"since its checkpoint was made, this changed: {differences}; the result may differ from a run in one go",)


def made_with(sharded: bool) -> dict[str, str]:
    facts = environment() | {"processes": ranks.described(sharded)}
    return {name: facts[name] for name in _DECIDING if name in facts}


def _manifest(path: Path) -> dict[str, Any]:
    """What a manifest says. Raises `ValueError` where it is not one."""
    facts = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise ValueError(f"{path / MANIFEST} is not a manifest")
    return facts


def checkpoints(folder: Path) -> list[Path]:
    """Every checkpoint in a folder, whole or not, the newest last."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=_step_of)


def _contents(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith(MANIFEST))


def _step_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
