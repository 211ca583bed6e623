"""Studies as YAML files.

    task: shakespeare(length=64)        # required: the task in text form
    vary:                               # one arm per combination of the alternatives
      mixer: [softmax, linear, performer(features=128)]
      position: [rotary, alibi]
    arms:                               # further arms, which may swap several choices at once
      dense: mixer=dense, residual=danet, norm=max_norm
      deep:  {depth: 8, width: 64}
    base: {depth: 2, width: 64}         # changes to the task's base configuration, or text as in `arms`
    budget: {steps: 200, batch_size: 16, learning_rate: 0.002}
    match: parameters                   # or steps (the default), flops, time
    seeds: 3                            # how many (0, 1, 2), or a list of them
    shard: true                         # spread each model over the processes that torchrun starts
    folder: studies/mine                # `.` is the folder that this file is in, wherever it is moved

What is left out is as in the task's default study. An unknown key raises, naming the nearest known one.
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from formers.lab.study.arm import Arm, vary
from formers.lab.study.budget import Budget
from formers.lab.study.choices import parse_choices
from formers.lab.study.study import Study, default_budget
from formers.part import check_names
from formers.tasks import parse as parse_task

_HERE = Path(".")
_KEYS = ["task", "vary", "arms", "base", "budget", "match", "seeds", "shard", "folder"]


def read(path: Path) -> Study:
    """The study in a file. Raises `ValueError` with the file's name for anything that cannot be read."""
    try:
        found = study(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: {error}") from error
    return replace(found, folder=path.parent) if found.folder == _HERE else found


def study(data: Any) -> Study:
    """The study that parsed YAML describes."""
    if not isinstance(data, dict) or not isinstance(data.get("task"), str):
        raise ValueError("a study is a mapping with at least `task: name`")
    check_names("a study", data, _KEYS)
    task = parse_task(data["task"])
    options = {name: number(value) for name, value in _mapping(data, "budget").items()}
    check_names("budget", options, [f.name for f in fields(Budget)])
    return Study(
        task=task,
        arms=_read_arms(data),
        base=_read_choices(data.get("base") or {}),
        budget=replace(default_budget(task), **options),
        match=data.get("match", "steps"),
        seeds=_read_seeds(data.get("seeds", 1)),
        shard=_read_flag(data, "shard"),
        folder=Path(data["folder"]) if data.get("folder") else None,
    )


def _read_arms(data: dict[str, Any]) -> tuple[Arm, ...]:
    varied = _mapping(data, "vary")
    arms = data.get("arms") or {}
    if isinstance(arms, list):
        explicit = tuple(_read_arm(item) for item in arms)
    elif isinstance(arms, dict):
        explicit = tuple(Arm(name, _read_choices(choices)) for name, choices in arms.items())
    else:
        raise ValueError(f"arms must be a mapping of names to choices, not {arms!r}")
    return (vary(**varied) if varied else ()) + explicit


def _read_arm(given: Any) -> Arm:
    """An arm written as text, or as YAML reads an unquoted `- name: choices`."""
    if isinstance(given, dict) and len(given) == 1:
        [(name, choices)] = given.items()
        return Arm(name, _read_choices(choices))
    if isinstance(given, str):
        return Arm.parse(given)
    raise ValueError(f"an arm is `name: choices`, not {given!r}")


def _read_choices(given: Any) -> dict[str, Any]:
    """Choices written as a mapping or as text."""
    if isinstance(given, str):
        return parse_choices(given) if given.strip() else {}
    if isinstance(given, dict):
        return given
    raise ValueError(f"choices are a mapping or a text such as `mixer=dense, depth=2`, not {given!r}")


def _read_seeds(given: Any) -> tuple[int, ...]:
    """How many seeds, or which."""
    return tuple(range(given)) if isinstance(given, int) else tuple(given)


def _read_flag(data: dict[str, Any], key: str) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{key} is true or false, not {value!r}")
    return value


def number(value: Any) -> Any:
    """A number that YAML took for text, as it does with 1e-3."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value  # the budget says what is wrong with it


def _mapping(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be a mapping, not {value!r}")
    return value


def write(given: Study, path: Path) -> None:
    """Writes a file that `read` makes an equal study of."""
    here = path.parent.resolve() == given.place.resolve()
    folder = {"folder": str(_HERE if here else given.place)}
    data = given.plain() | ({"shard": True} if given.shard else {}) | folder
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
