"""Studies as YAML files.

    task: shakespeare(length=64)        # required: the task in text form
    parts: [retention.py]               # files with parts of your own, which are run: here, or beside this file
    vary:                               # one arm per combination of the alternatives
      mixer: [softmax, linear, performer(features=128)]
      position: [rotary, alibi]
    arms:                               # further arms, which may swap several choices at once
      dense: mixer=dense, residual=danet, norm=max_norm
      deep:  {depth: 8, width: 64}
    base: {depth: 2, width: 64}         # changes to the task's base configuration, or text as in `arms`
    budget: {steps: 200, batch_size: 16, learning_rate: [0.001, 0.003]}   # of a list, each arm takes the best
      # stages: 3 in the budget trains at a quarter, half and all of the length and of the mixers' windows
      # or `budget: medium`: by size, small, medium or large, with seeds and rates of their own
    match: parameters                   # or steps (the default), flops, time
    seeds: 3                            # how many (0, 1, 2), or a list of them
    search_seeds: [1000]                # seeds with which values in lists and trials are tried; none of those above
    search:                             # a larger search, drawn by Optuna, in place of lists of values
      mixer: [softmax, performer(features=log(8..256)), "linear(feature={elu, relu})"]
      depth: 1..4
      learning_rate: log(1e-4..1e-2)
    under: parameters=200k, latency=5ms # what a trial may cost; the front is against the first
    trials: 30                          # trained trials
    front: 8                            # of the front, at most so many are trained again and ranked
    together: 4                         # trials drawn before any of them has a result
    eval_lengths: [1x, 2x, 512]         # test trained models at multiples of the trained length, or at so many tokens
    device: cuda                        # auto (the default: a GPU where there is one), cpu, cuda
    precision: bf16                     # fp32 (the default), bf16, fp16: of products, under autocast
    compile: true                       # compile models for training
    accumulate: 4                       # cut a batch into so many parts, one after the other
    checkpointing: true                 # compute layers again in the backward pass instead of keeping their numbers
    shard: true                         # shard each model over the processes that torchrun starts
    slurm: {partition: gpu, gpus: 1, memory: 16G, time: 4h}   # train each arm as a job of a Slurm cluster
    folder: studies/mine                # `.` is the folder that this file is in, wherever it is moved
    directory: /home/me/plays           # where a relative path of the task starts, if not here and not beside this file

Keys that are left out are as in the task's default study. An unknown key raises, naming the nearest known one.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from formers.lab.study.arm import Arm, vary
from formers.lab.study.budget import Budget
from formers.lab.study.budget_size import budget_size
from formers.lab.study.choices import parse_choices
from formers.lab.study.compute import Compute
from formers.lab.study.data_path import relative_path, start_of
from formers.lab.study.search_space import SearchSpace, refuse_alone
from formers.lab.study.seeds import SEARCH_SEEDS, first_seeds
from formers.lab.study.slurm_resources import AUTO, read_resources
from formers.lab.study.study import Study, default_budget
from formers.lab.study.yaml_text import parse_yaml
from formers.machine.files import write_atomically
from formers.part import check_names, load_parts, quoted
from formers.tasks import parse as parse_task

_FOLDER_OF_FILE = Path(".")
_COMPUTE = [field.name for field in fields(Compute)]
_KEYS = [
    "task",
    "parts",
    "vary",
    "arms",
    "base",
    "budget",
    "match",
    "seeds",
    "search_seeds",
    "search",
    "under",
    "trials",
    "front",
    "together",
    "eval_lengths",
    *_COMPUTE,
    "shard",
    "slurm",
    "folder",
    "directory",
]


def read_study(path: Path | str) -> Study:
    """Return the study in a YAML file, whose schema is described at the top of this module.

    Raises:
        ValueError: with the file's name, for anything in it that cannot be read.
    """
    path = Path(path)
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
        _load_parts(data, path.resolve().parent)
        study = _parse_study(data)
    except UnicodeDecodeError as error:
        place = f"{error.reason} at byte {error.start}"
        raise ValueError(f"{path}: a study is text in UTF-8, and this is not: {place}") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    folder = path.parent if study.folder == _FOLDER_OF_FILE else study.folder
    directory = start_of(study.task, [study.directory, Path.cwd(), path.resolve().parent])
    return replace(study, folder=folder, directory=directory)


def write_study(study: Study, path: Path | str) -> None:
    """Write a file that `read_study` makes an equal study of. One in the study's own folder names it `.`."""
    path = Path(path)
    in_own_folder = path.parent.resolve() == study.folder.resolve()
    folder = {"folder": str(_FOLDER_OF_FILE if in_own_folder else study.folder)}
    directory = {"directory": str(study.directory)} if relative_path(study.task) else {}
    place: dict[str, Any] = {"shard": True} if study.shard else {}
    place |= {"slurm": study.slurm.given or AUTO} if study.slurm else {}
    data = study.to_dict() | _part_files(study) | study.compute.given | place | folder | directory
    write_atomically(path, yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _part_files(study: Study) -> dict[str, list[str]]:
    """Return the entry that names the users' files which parts of a study come from; none where there are none."""
    files = [file for file in study.part_files if file != study.task.origin]
    return {"parts": files} if files else {}


def _load_parts(data: Any, folder: Path) -> None:
    """Run the files of parts that parsed YAML names: paths from here, or from the folder of the YAML file."""
    named = data.get("parts") if isinstance(data, dict) else None
    files = [named] if isinstance(named, str) else named or []
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ValueError(f"parts must be a list of Python files, not {quoted(named)}")
    for file in files:
        load_parts(file if Path(file).expanduser().exists() else folder / file)


_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks of YAML that PyYAML writes as they are, and reads as spaces."""


class _Dumper(yaml.SafeDumper):
    """Writes texts with unusual line breaks in double quotes, where they are escaped."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _OTHER_BREAKS.search(text) else None)


_Dumper.add_representer(str, _represent_text)


def _parse_study(data: Any) -> Study:
    """Return the study that parsed YAML describes."""
    if not isinstance(data, dict) or not isinstance(data.get("task"), str):
        raise ValueError("a study is a mapping with at least `task: name`")
    check_names("a study", data, _KEYS)
    task = parse_task(data["task"])
    size = budget_size(data["budget"]) if isinstance(data.get("budget"), str) else None
    data = data | ({"budget": None} if size else {})
    amounts = {name: _parse_amount(value) for name, value in _mapping_at(data, "budget").items()}
    check_names("budget", amounts, [field.name for field in fields(Budget)])
    search = {name: value for name, value in amounts.items() if isinstance(value, list)}
    budget = {name: value for name, value in amounts.items() if name not in search}
    places = [name for name in ("folder", "directory") if data.get(name) is not None]
    folders = {name: Path(_text_at(data, name)) for name in places}
    return Study(
        task=task,
        arms=_parse_arms(data),
        base=_parse_choices(data.get("base")),
        budget=size.budget(task) if size else replace(default_budget(task), **budget),
        compute=Compute(**{name: data[name] for name in _COMPUTE if name in data}),
        match=_text_at(data, "match", "steps"),  # type: ignore[arg-type]
        seeds=_parse_seeds(data.get("seeds", size.seeds if size else 1)),
        search=size.search(task) if size and not data.get("search") else search,
        search_seeds=_parse_search_seeds(data.get("search_seeds")),
        space=_parse_space(data),
        eval_lengths=() if data.get("eval_lengths") is None else data["eval_lengths"],
        shard=_flag_at(data, "shard"),
        slurm=read_resources(data.get("slurm")),
        **folders,  # type: ignore[arg-type]
    )


def _parse_arms(data: dict[str, Any]) -> tuple[Arm, ...]:
    """Return the arms under `vary`, then those under `arms`."""
    varied = _mapping_at(data, "vary")
    for name in varied:
        if not isinstance(name, str):
            raise ValueError(f"vary: the name of a choice is text, not {quoted(name)}")
    arms = {} if data.get("arms") is None else data["arms"]
    if isinstance(arms, list):
        listed = tuple(_parse_arm(item) for item in arms)
    elif isinstance(arms, dict):
        listed = tuple(Arm(name, _parse_choices(choices)) for name, choices in arms.items())
    else:
        raise ValueError(f"arms must be a mapping of names to choices, not {quoted(arms)}")
    return (vary(**varied) if varied else ()) + listed


def _parse_space(data: dict[str, Any]) -> SearchSpace | None:
    """Return the space of a larger search; None without one."""
    given = {name: data[name] for name in ("under", "trials", "front", "together") if data.get(name) is not None}
    options = _mapping_at(data, "search")
    if options:
        return SearchSpace(options=options, **given)
    refuse_alone(given)
    return None


def _parse_arm(item: Any) -> Arm:
    """Return an arm written as text, or as YAML reads an unquoted `- name: choices`."""
    if isinstance(item, dict) and len(item) == 1:
        [(name, choices)] = item.items()
        return Arm(name, _parse_choices(choices))
    if isinstance(item, str):
        return Arm.parse(item)
    raise ValueError(f"an arm is `name: choices`, not {quoted(item)}")


def _parse_choices(choices: Any) -> dict[str, Any]:
    """Return choices written as a mapping or as text."""
    if choices is None:
        return {}
    if isinstance(choices, str):
        return parse_choices(choices)
    if isinstance(choices, dict):
        return choices
    raise ValueError(f"choices are a mapping or a text such as `mixer=dense, depth=2`, not {quoted(choices)}")


def _parse_seeds(seeds: Any) -> tuple[int, ...]:
    """Return the first seeds, where just their number is given; else those that are listed."""
    if isinstance(seeds, int):
        return first_seeds(seeds)
    if not isinstance(seeds, (list, tuple)):
        raise ValueError(f"seeds are a number of them or a list, not {quoted(seeds)}")
    return tuple(seeds)


def _parse_search_seeds(seeds: Any) -> tuple[int, ...]:
    """Return the listed seeds of a search; its usual ones without a list."""
    if seeds is None:
        return SEARCH_SEEDS
    if not isinstance(seeds, (list, tuple)):
        raise ValueError(f"search_seeds are a list such as [1000, 1001], not {quoted(seeds)}")
    return tuple(seeds)


def _parse_amount(value: Any) -> Any:
    """Return a number, or a list of them, of which some may be written as text."""
    return [_parse_number(item) for item in value] if isinstance(value, list) else _parse_number(value)


def _parse_number(value: Any) -> Any:
    """Return a number that YAML took for text, as it does with 1e-3; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value  # the budget raises, with the name of the amount


def _flag_at(data: dict[str, Any], key: str) -> bool:
    value = data.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{key} is true or false, not {quoted(value)}")
    return value


def _mapping_at(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = {} if data.get(key) is None else data[key]
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be a mapping, not {quoted(value)}")
    return value


def _text_at(data: dict[str, Any], key: str, default: str = "") -> str:
    value = data.get(key, default)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key} must be text, not {quoted(value)}; write it in quotes")
    return value
