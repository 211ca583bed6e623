"""Recordings: trajectories in a folder, as two files that any program reads.

`trajectories.safetensors` holds, for E episodes of N steps in all, one after the other:

    states    (N, S) float32   before each action, as the environment gave them
    actions   (N) int64        0 … A − 1; or (N, A) float32 from −1 to 1, the environment's bounds
    rewards   (N) float32      of each action
    lengths   (E) int64        steps of each episode
    policies  (E) int64        the episode's policy, a place in the list of the other file

`trajectories.json` says what they are:

    format      1
    spaces      name (as gymnasium knows the environment), state_size, action_size, discrete, low, high, first,
                longest_episode
    policies    a list of names
    zero        the mean return of random actions, which counts as a score of 0
    hundred     the mean return of an expert, which counts as 100
    sha256      of trajectories.safetensors

It is written last, so that a recording that was broken off is no recording. Neither file holds code.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from formers.part import quoted
from formers.tasks.control.environments import Spaces
from formers.tasks.control.trajectories import Trajectories

DATA, FACTS = "trajectories.safetensors", "trajectories.json"
_FORMAT = 1
_ARRAYS = {"states": "float32", "actions": "", "rewards": "float32", "lengths": "int64", "policies": "int64"}
_KINDS: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "spaces": (dict,),
    "policies": (list,),
    "sha256": (str,),
    "zero": (int, float),
    "hundred": (int, float),
}
_REMEDY = "record it again, or restore a copy"


def save_recording(trajectories: Trajectories, folder: Path | str) -> Path:
    """Write trajectories into a folder, which is made where there is none, and return it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(trajectories.policies))
    arrays = {name: getattr(trajectories, name) for name in ("states", "actions", "rewards", "lengths")}
    arrays["policies"] = np.array([names.index(name) for name in trajectories.policies], np.int64)
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    facts = {
        "format": _FORMAT,
        "spaces": asdict(trajectories.spaces),
        "policies": names,
        "zero": trajectories.zero,
        "hundred": trajectories.hundred,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    _write(folder / DATA, data)
    _write(folder / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
    return folder


def load_recording(folder: Path | str) -> Trajectories:
    """Return the trajectories in a folder.

    Raises:
        FileNotFoundError: where there is no recording.
        ValueError: naming the file, for a recording that is damaged, broken off, or of another format.
    """
    folder = Path(folder)
    for name in (DATA, FACTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}; a recording has {DATA} and {FACTS}")
    facts, data = _facts(folder / FACTS), (folder / DATA).read_bytes()
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise ValueError(f"{folder / DATA} is not what was recorded (its sha256 is not that in {FACTS}); {_REMEDY}")
    arrays = _arrays(folder / DATA, data)
    numbers = arrays.pop("policies")
    try:
        spaces = _spaces(facts["spaces"])
        policies = tuple(facts["policies"][i] for i in numbers.tolist() if i >= 0)
        zero, hundred = float(facts["zero"]), float(facts["hundred"])
        return Trajectories(spaces=spaces, policies=policies, zero=zero, hundred=hundred, **arrays)  # type: ignore[arg-type]
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{folder} cannot be read: {error}; {_REMEDY}") from error


def _facts(path: Path) -> dict[str, Any]:
    """Return the facts of a recording. Raise ValueError for a file that holds something else."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON that can be read ({str(error)[:100]}); {_REMEDY}") from None
    if not isinstance(facts, dict):
        raise ValueError(f"{path} must hold a mapping, not {quoted(facts)}; {_REMEDY}")
    for name, kinds in _KINDS.items():
        if isinstance(facts.get(name), bool) or not isinstance(facts.get(name), kinds):
            raise ValueError(f"{path}: {name} must be there and a {kinds[-1].__name__}; {_REMEDY}")
    if facts["format"] != _FORMAT:
        raise ValueError(f"{path} is in format {facts['format']}, and this version reads format {_FORMAT}")
    if not all(isinstance(name, str) for name in facts["policies"]):
        raise ValueError(f"{path}: policies must be names, not {quoted(facts['policies'])}; {_REMEDY}")
    if not (math.isfinite(facts["zero"]) and math.isfinite(facts["hundred"])):
        raise ValueError(f"{path}: zero and hundred must be finite; {_REMEDY}")
    return facts


def _arrays(path: Path, data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a recording. Raise ValueError where one is missing or of another type."""
    try:
        arrays: dict[str, np.ndarray] = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {_REMEDY}") from None
    for name, dtype in _ARRAYS.items():
        if name not in arrays or (dtype and arrays[name].dtype != dtype):
            raise ValueError(f"{path} must hold {name}{f' in {dtype}' if dtype else ''}; {_REMEDY}")
    return {name: arrays[name] for name in _ARRAYS}


def _spaces(facts: dict[str, Any]) -> Spaces:
    """Return spaces from JSON. Raise TypeError for other names and values."""
    known = {field.name for field in fields(Spaces)}
    if set(facts) != known:
        raise TypeError(f"spaces must hold {', '.join(sorted(known))}, not {', '.join(sorted(facts)) or 'nothing'}")
    low, high = (tuple(map(float, facts[name])) for name in ("low", "high"))
    sizes = {name: facts[name] for name in ("state_size", "action_size", "first", "longest_episode")}
    if not all(type(size) is int for size in sizes.values()) or not isinstance(facts["name"], str):
        raise TypeError("spaces must hold a name and whole numbers")
    return Spaces(name=facts["name"], discrete=bool(facts["discrete"]), low=low, high=high, **sizes)


def _write(path: Path, data: bytes) -> None:
    """Write a file: all of it, or nothing changes."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
