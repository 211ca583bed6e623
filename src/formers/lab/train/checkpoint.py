"""Checkpoints that are known to be whole: a manifest of their files, sizes and hashes is written last."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formers.lab.distributed import ranks
from formers.lab.study.compute import Compute
from formers.lab.train.best_weights import BEST_WEIGHTS
from formers.machine.environment import environment
from formers.machine.files import flush_to_disk, remove, write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed

MANIFEST = "complete.json"
_FORMAT = 2
_KEEP = 2  # the newest, and the one before it in case the newest turns out to be damaged
_REQUIRED = ("trainer_state.json",)
"""Files without which no training goes on, whatever the manifest lists."""
_LOADED = (".safetensors", ".json", ".bin", ".pt", ".pth")
_RESTORE = f"restore {MANIFEST} from a copy of the folder to use it"
_DECIDING = (
    *("formers", "torch", "transformers", "commit", "device", "threads", "processes"),
    *("precision", "compile", "accumulate", "checkpointing"),
)
"""Facts of the environment that may change the last bits of a result."""
_PLAIN = Compute()


class ForeignCheckpoint(ValueError):
    """A checkpoint that this training did not make, or that this version cannot read."""


@dataclass(frozen=True)
class ResumePoint:
    """The checkpoint that a training goes on from; without one it starts at the beginning.

    Attributes:
        path: the folder of the checkpoint.
        notes: what the user is told about it, and about those that cannot be used.
    """

    path: Path | None
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The step after which the checkpoint was written; 0 without one."""
        return _step_of(self.path) if self.path else 0


def seal_checkpoint(path: Path, fingerprint: str, sharded: bool = False, compute: Compute = _PLAIN) -> None:
    """Write the manifest of a checkpoint whose files are all there, then remove what is older than the one before it.

    `fingerprint` is that of the job which is trained; `sharded` tells whether its model is sharded over the ranks, and
    `compute` how else its steps are computed.
    """
    files = {}
    for file in _contents(path):
        flush_to_disk(file)
        files[str(file.relative_to(path))] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
    facts = {"format": _FORMAT, "job": fingerprint, "made_with": _made_with(sharded, compute), "files": files}
    write_atomically(path / MANIFEST, json.dumps(sealed(facts), indent=1), flush=True)
    flush_to_disk(path)
    _remove_old(path.parent, _step_of(path))


def newest_checkpoint(
    folder: Path,
    fingerprint: str,
    sharded: bool = False,
    evaluated_from: float = math.inf,
    compute: Compute = _PLAIN,
) -> ResumePoint:
    """Return the newest checkpoint that is whole. Change nothing.

    From the step `evaluated_from` on, a whole one holds the best weights so far, too.

    Raises:
        ForeignCheckpoint: for a checkpoint of another job, or in a format of another version.
    """
    notes: list[str] = []
    for path in reversed(_checkpoints(folder)):
        problem = _problem(path, fingerprint, has_best=_step_of(path) >= evaluated_from)
        if problem is None:
            return ResumePoint(path, (*notes, *_environment_notes(path, _made_with(sharded, compute))))
        notes.append(f"the checkpoint of step {_step_of(path)} cannot be used: {problem}")
    return ResumePoint(None, tuple(notes))


def _remove_old(folder: Path, step: int) -> None:
    """Remove all but the newest sealed checkpoints up to `step`, and every one that was broken off."""
    sealed = [path for path in _checkpoints(folder) if _step_of(path) <= step and (path / MANIFEST).is_file()]
    for path in set(_checkpoints(folder)) - set(sealed[-_KEEP:]):
        remove(path)


def _problem(path: Path, fingerprint: str, has_best: bool) -> str | None:
    """Return why a checkpoint cannot be used; None for one that is whole: every file in it is what was written."""
    if not (path / MANIFEST).is_file():
        return "it was broken off while it was written"
    try:
        facts = _read_manifest(path)
    except ValueError as error:
        return f"its {MANIFEST} cannot be read: {error}"
    if facts["format"] != _FORMAT or facts["job"] != fingerprint:
        raise ForeignCheckpoint(
            f"{path} is not a checkpoint that this version of formers made for this training; move it away to train "
            "anew"
        )
    present = {file.relative_to(path).as_posix() for file in _contents(path)}
    expected = {name.replace("\\", "/"): entry for name, entry in facts["files"].items()}
    if has_best and BEST_WEIGHTS not in expected:
        return "it is of a version of formers that kept the best weights so far without a hash"
    if missing := sorted({*_REQUIRED, *expected} - present):
        return f"{missing[0]} is missing"
    if unknown := sorted(name for name in present - {*expected} if _is_read_back(Path(name))):
        return f"{MANIFEST} holds no hash of {unknown[0]}, so that it may be anything; {_RESTORE}"
    return next((problem for name in sorted(expected) if (problem := _damage(path / name, name, expected[name]))), None)


def _is_read_back(file: Path) -> bool:
    """Return whether a file of this name may be loaded, unlike what operating systems leave in folders."""
    return file.suffix in _LOADED and not file.name.startswith(".")


def _damage(file: Path, name: str, expected: Any) -> str | None:
    """Return the difference between a file and its entry in the manifest; None where there is none."""
    if not isinstance(expected, dict) or not {"bytes", "sha256"} <= set(expected):
        return f"{MANIFEST} holds no hash of {name}, so that it may be anything; {_RESTORE}"
    if file.stat().st_size != expected["bytes"]:
        return f"{name} has {file.stat().st_size} bytes of {expected['bytes']}"
    return None if _sha256(file) == expected["sha256"] else f"{name} is not what was written"


def _environment_notes(path: Path, now: dict[str, str]) -> tuple[str, ...]:
    """Return a note where a checkpoint was made with other versions, on another machine, or computed otherwise."""
    before = _read_manifest(path).get("made_with")
    before = before if isinstance(before, dict) else {}
    names = [name for name in _DECIDING if before.get(name) != now.get(name)]
    if not names:
        return ()
    differences = ", ".join(f"{name} {before.get(name)} → {now.get(name)}" for name in names)
    return (f"since its checkpoint was made, this changed: {differences}; the result may differ from a run in one go",)


def _made_with(sharded: bool, compute: Compute) -> dict[str, str]:
    """Return the facts of this environment that may change the last bits of a result."""
    facts = environment(compute.device) | {"processes": ranks.describe_ranks(sharded)} | compute.facts
    return {name: facts[name] for name in _DECIDING if name in facts}


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint's manifest. Raise ValueError where it is not one."""
    facts = unsealed(json_from_text((path / MANIFEST).read_text(encoding="utf-8")))
    for name, kind in (("format", int), ("job", str), ("files", dict)):
        if not isinstance(facts.get(name), kind):
            raise ValueError(
                f"{name!r} is no {kind.__name__}" if name in facts else f"it holds no {name!r}; {_RESTORE}"
            )
    return facts


def _checkpoints(folder: Path) -> list[Path]:
    """Return every checkpoint in a folder, whole or not, the newest last."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(found, key=_step_of)


def _contents(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith(MANIFEST))


def _step_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
