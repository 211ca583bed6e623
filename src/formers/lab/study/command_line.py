"""Studies, and single arms of them, as command lines that run them again."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from formers.lab.distributed.ranks import world_size
from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.choices import choices_text
from formers.lab.study.search_space import SearchSpace
from formers.lab.study.seeds import SEARCH_SEEDS
from formers.lab.study.study import Study
from formers.machine.shell import command_line
from formers.part import own_code


def study_command(study: Study) -> str:
    """Return the command line that runs a study again, with `formers ablate`."""
    arms = [word for arm in study.arms for word in ("--arm", arm.text)]
    base = ["--base", choices_text(study.base)] if study.base else []
    match = ["--match", study.match] if study.match != "steps" else []
    options = [
        *_parts_options(study.part_files),
        *arms,
        *base,
        *match,
        *_budget_options(study.budget, study.search),
        *_lengths_option(study),
        *_compute_options(study),
        *(_space_options(study.space) if study.space else []),
    ]
    seeds = ["--seeds", _seeds_text(study.seeds)]
    if (study.searches or study.space) and study.search_seeds != SEARCH_SEEDS:
        seeds += ["--search-seeds", ",".join(map(str, study.search_seeds))]
    return command_line([*launch_command(), "ablate", _task_text(study), *options, *seeds])


def arm_command(study: Study, arm: Arm, budget: Budget, seed: int) -> str:
    """Return the command line that trains one arm with one budget and seed again, with `formers train`."""
    choices = [choices_text({name: value}) for name, value in {**study.base, **arm.swaps}.items()]
    files = _parts_options([*own_code([study.base, arm])])
    options = [*files, *_budget_options(budget), "--seed", str(seed), *_lengths_option(study), *_compute_options(study)]
    return command_line([*launch_command(), "train", _task_text(study), *choices, *options])


def file_command(path: Path) -> str:
    """Return the command line that runs the study in a YAML file."""
    return shlex.join([*launch_command(), "ablate", str(path)])


def is_of_task(command: str, study: Study) -> bool:
    """Return whether a command that `arm_command` wrote is of the study's task, as it is written there."""
    return shlex.split(command_line([_task_text(study)]))[0] in shlex.split(command)


def launch_command() -> list[str]:
    """Return the words that start this program in as many processes as now: `formers`, or `torchrun … -m formers`."""
    ranks = world_size()
    if ranks == 1:
        return ["formers"]
    per_node = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    nodes = ["--nnodes", str(ranks // per_node)] if ranks > per_node else []
    return ["torchrun", *nodes, "--nproc-per-node", str(per_node), "-m", "formers"]


def _task_text(study: Study) -> str:
    return str(study.task).removesuffix("()")


def _parts_options(files: Sequence[str]) -> list[str]:
    return [word for file in files for word in ("--parts", file)]


def _lengths_option(study: Study) -> list[str]:
    return ["--eval-length", ",".join(map(str, study.eval_lengths))] if study.eval_lengths else []


def _space_options(space: SearchSpace) -> list[str]:
    """Return the options of a larger search."""
    given = space.to_dict()
    words = [word for name, values in space.options.items() for word in ("--search", f"{name}={values}")]
    words += ["--under", ",".join(given["under"])] if "under" in given else []
    numbers = [name for name in ("trials", "front", "together") if name in given]
    return words + [word for name in numbers for word in (f"--{name}", str(given[name]))]


def _compute_options(study: Study) -> list[str]:
    """Return the options of how steps are computed, those that are given."""
    words = ["--shard"] if study.shard else []
    for name, value in study.compute.given.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def _budget_options(budget: Budget, search: Mapping[str, Sequence[float]] | None = None) -> list[str]:
    """Return the options of a budget; of what is searched, all values."""
    values = {name: (value,) for name, value in budget.to_dict().items()} | dict(search or {})
    return [
        word for name, given in values.items() for word in (f"--{name.replace('_', '-')}", ",".join(map(str, given)))
    ]


def _seeds_text(seeds: tuple[int, ...]) -> str:
    """Return how many seeds there are, where they are the first ones; else the list, told apart by its last comma."""
    return str(len(seeds)) if seeds == tuple(range(len(seeds))) else ",".join(map(str, seeds)) + ","
