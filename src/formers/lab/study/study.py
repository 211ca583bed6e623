"""Studies: a task, a base, arms that differ from it, a budget for each, and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from formers.lab.study.alternatives import check_search
from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.choices import OF_TASK, choices_text, parse_choice
from formers.lab.study.compute import Compute
from formers.lab.study.data_path import located
from formers.lab.study.eval_lengths import EvalLength, check_eval_lengths, parse_eval_lengths, token_counts
from formers.lab.study.search_space import SearchSpace
from formers.lab.study.seeds import SEARCH_SEEDS, check_apart, check_seeds
from formers.lab.study.slurm_resources import SlurmResources
from formers.part import Unsupported, check_names, own_code, quoted
from formers.tasks import parse as parse_task
from formers.tasks.checks.checked_task import CheckedTask
from formers.tasks.checks.declaration import check_declaration
from formers.tasks.checks.task_error import TaskError
from formers.tasks.task import Task

if TYPE_CHECKING:
    from formers.models import TransformerConfig

STUDIES_FOLDER = Path("studies")
"""The folder of all studies that are not given one."""

Match = Literal["steps", "parameters", "flops", "time"]
_MATCHES: tuple[Match, ...] = ("steps", "parameters", "flops", "time")
_DEEPEST = 1024
"""Layers of an arm: as many as anybody has trained, and few enough to be built in seconds."""
_FILLED_IN: Any = None
"""The default of attributes that get their value from others when a study is made."""

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "task": ((str, Task), "a task, or its text"),
    "arms": ((Iterable,), "a list of arms"),
    "base": ((Mapping,), "a mapping of choices"),
    "budget": ((Budget, type(None)), "a Budget"),
    "compute": ((Compute,), "a Compute"),
    "match": ((str,), f"one of {', '.join(_MATCHES)}"),
    "seeds": ((Iterable,), "a list of whole numbers"),
    "search": ((Mapping,), "a mapping of options of the budget to lists"),
    "search_seeds": ((Iterable,), "a list of whole numbers"),
    "space": ((SearchSpace, type(None)), "a SearchSpace"),
    "eval_lengths": ((str, Iterable), "a list of lengths such as 2x or 512"),
    "shard": ((bool,), "True or False"),
    "slurm": ((SlurmResources, type(None)), "SlurmResources(…), or None"),
    "folder": ((str, Path, type(None)), "a path"),
}
"""Attribute → its types, and the words for them in an error."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared, on what, and how much each arm may spend. What is left out comes from the task's default study.

    Attributes:
        task: the task, or its text form.
        arms: what is compared.
        base: choices that change the task's base configuration for every arm.
        budget: what each arm is given; by default that of the task's default study.
        compute: the device, the precision and the like, the same for all arms.
        match: what every arm has in common with the first. `steps`: the budget, as it is. `parameters`, `flops`: the
            number of parameters, or of operations per token, too, by the width of the feed-forward or the depth.
            `time`: seconds of training instead of steps, by how long each arm's steps take on this machine.
        seeds: each arm is trained once per seed.
        search: option of the budget → values of which each arm takes the one that is best on validation, as in
            `{"learning_rate": [1e-3, 3e-3]}`; so it does with the alternatives of its own choices. The budget has the
            first of them.
        search_seeds: the seeds with which alternatives, of the budget or of an arm, are tried, and trials of a space,
            which is drawn from with the first of them; none of `seeds`.
        space: a larger search, whose front of quality against a cost is ranked beside the arms; these are the base
            alone, where none are given.
        eval_lengths: lengths at which each trained model is tested besides the trained one: multiples of that, as `2x`,
            and numbers of tokens; a text such as `1x, 2x, 4x`, or a list. It is no part of what identifies a study:
            nothing is trained again for another length.
        shard: shard each model over the processes that `torchrun` starts, instead of holding it whole in each. Results
            are the same up to rounding, so `shard` is no part of what identifies a study.
        slurm: what each arm is given as a job of a Slurm cluster; None to train in this process. It is no part of what
            identifies a study.
        folder: where rows, models and the report go; by default a folder in `studies/` named after the content.
        directory: where a relative path of the task's data starts: the working directory in which the study was made.
            It is no part of what identifies a study.

    Raises:
        ValueError: for an unknown or repeated arm, a choice that the base cannot take, and lengths that models of the
            task cannot be tested at.
    """

    task: Task
    arms: tuple[Arm, ...] = ()
    base: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = _FILLED_IN
    compute: Compute = field(default_factory=Compute)
    match: Match = "steps"
    seeds: tuple[int, ...] = (0,)
    search: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    search_seeds: tuple[int, ...] = SEARCH_SEEDS
    space: SearchSpace | None = None
    eval_lengths: Sequence[EvalLength] = ()
    shard: bool = False
    slurm: SlurmResources | None = None
    folder: Path = _FILLED_IN
    directory: Path = field(default_factory=Path.cwd, compare=False)

    def __post_init__(self) -> None:
        self._check_types()
        task = cast(Task, parse_task(self.task)) if isinstance(self.task, str) else self.task
        check_declaration(task)
        search = check_search(self.search)
        single = {name: values[0] for name, values in self.search.items()}
        filled: dict[str, Any] = {
            "task": task,
            "arms": self.arms or ((Arm("base"),) if self.space else tuple(Arm.parse(text) for text in task.arms)),
            "base": {name: parse_choice(name, value) for name, value in self.base.items()},
            "budget": replace(self.budget or default_budget(task), **single),
            "search": search,
            "eval_lengths": parse_eval_lengths(self.eval_lengths),
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        self._check()
        folder = Path(self.folder) if self.folder else STUDIES_FOLDER / f"{task.name()}-{self.content_hash[:8]}"
        object.__setattr__(self, "folder", folder)

    def _check_types(self) -> None:
        """Raise TypeError for an attribute of a wrong type, and for arms that are not `Arm`s."""
        for name, (kinds, words) in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kinds) or (isinstance(value, str) and str not in kinds):
                raise TypeError(f"a study: {name} must be {words}, but {quoted(value)} was given")
        for name in ("arms", "seeds", "search_seeds"):  # may be iterators
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if others := [arm for arm in self.arms if not isinstance(arm, Arm)]:
            raise TypeError(f"a study: arms must be Arm(name, choices), but {quoted(others[0])} was given")

    def _check(self) -> None:
        """Raise ValueError for repeated or missing arms or seeds, and for an unknown or impossible match."""
        check_names("match", [self.match], list(_MATCHES), word="quantity")
        if self.shard and self.match == "time":
            raise ValueError(
                "match='time' paces whole models in one process, which a study with shard is not trained in"
            )
        if self.budget.stages > 1 and self.match == "time":
            raise ValueError("match='time' paces steps of one length, but budget.stages has several; leave one out")
        names = [arm.name for arm in self.arms]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"arms need different names, but {', '.join(map(repr, twice))} comes more than once")
        self._check_task_options()
        self.compute.check_batch(self.budget.batch_size)
        if self.compute.accumulate > 1 and self.task.is_contiguous:
            raise ValueError(
                f"{self.task} hands the memory of a row on from batch to batch, which a batch that is cut into parts "
                "has no rows for; leave accumulate out, or the task's segments"
            )
        check_eval_lengths(self.task, self.eval_lengths)
        check_seeds("seeds", self.seeds)
        if self.searches:
            self._check_search()
        if self.space:
            self._check_space()

    def _check_search(self) -> None:
        """Raise ValueError for values that the budget cannot have, seeds that rank, and an arm that others match."""
        check_apart(self.seeds, self.search_seeds)
        for name, values in self.search.items():
            for value in values:
                replace(self.budget, **{name: value})
        if self.match != "steps" and self.arms and self.arms[0].alternatives:
            raise ValueError(
                f"match={self.match!r} gives every arm what the first one has, so that takes no alternatives: "
                f"{self.arms[0].text}"
            )

    def _check_space(self) -> None:
        """Raise ValueError for seeds that rank, sizes that are matched, and arms that take one of several values."""
        check_apart(self.seeds, self.search_seeds)
        if self.match != "steps":
            raise ValueError(
                f"match={self.match!r} changes sizes, which a search looks for itself; bound its trials with under "
                "instead, as in under=parameters=200k"
            )
        if self.searches:
            named = next(iter(self.search), None) or next(arm.text for arm in self.arms if arm.alternatives)
            raise ValueError(
                f"a search and a list of values ({named}) are two ways to choose; write the list into the search, "
                "as in search: {learning_rate: [0.001, 0.003]}"
            )

    def _check_task_options(self) -> None:
        """Raise ValueError for options of the task that an arm cannot choose, or all arms in the base."""
        if of_task := [name for name in self.base if name.startswith(OF_TASK)]:
            raise ValueError(f"base: {of_task[0]} is an option of the task; write it there: {self.task}")
        for arm in self.arms:
            if arm.first.task_of(self.task) is not self.task and self.match == "time":
                why = "times steps on the same examples"
                raise ValueError(f"match='time' {why}, but arm {quoted(arm.name)} chooses an option of the task")

    def task_of(self, arm: Arm) -> CheckedTask:
        """Return the task that an arm trains on, with every result checked: the study's, with what the arm chooses."""
        return CheckedTask(located(arm.task_of(self.task), self.directory))

    def config(self, arm: Arm) -> TransformerConfig:
        """Return the whole configuration of an arm. Raise for unknown choices, naming the nearest known one."""
        config = self.task_of(arm).base()
        for swaps in (self.base, arm.model_swaps):
            config = config.swap(**swaps) if swaps else config
        return config

    @property
    def part_files(self) -> list[str]:
        """The users' files that parts of the base and of the arms come from."""
        return [*own_code([self.base, self.arms, self.space.parts if self.space else ()])]

    @property
    def searches(self) -> bool:
        """Return whether some arm takes one of several values, so that all are tried before it is ranked."""
        return bool(self.search) or any(arm.alternatives for arm in self.arms)

    def configs(self) -> dict[str, TransformerConfig | Unsupported]:
        """Return arm name → its configuration, with the first of its alternatives, or why the arm cannot exist.

        Every arm is built once, without memory, before any trains.

        Raises:
            ValueError: for an arm that is wrong rather than unsupported (a misspelt option, a width that does not
            divide).
        """
        return {arm.name: self.built_config(arm.first) for arm in self.arms}

    def built_config(self, arm: Arm) -> TransformerConfig | Unsupported:
        """Return the arm's configuration after building its model on the meta device; or why that is not possible."""
        import torch

        try:
            config = self.config(arm)
            if config.depth > _DEEPEST:
                raise ValueError(f"depth is at most {_DEEPEST:,} layers, not {config.depth:,}")
            self.checked_task.check_config(config)
            with torch.device("meta"):
                self.task_of(arm).model(config)
        except Unsupported as reason:
            return reason
        except TaskError:
            raise
        except (ValueError, TypeError) as error:
            raise ValueError(f"arm {quoted(arm.name)}: {error}") from error
        return config

    @property
    def checked_task(self) -> CheckedTask:
        """The task with every result checked: what it returns is right, or raises with the file and the line."""
        return CheckedTask(located(self.task, self.directory))

    @property
    def tested_lengths(self) -> tuple[int, ...]:
        """The lengths at which models are tested, in tokens, with the trained one; none without `eval_lengths`."""
        return token_counts(self.eval_lengths, self.task.length) if self.eval_lengths else ()

    @property
    def content_hash(self) -> str:
        """sha256 of what is trained: all but the folder, `shard`, `slurm`, `eval_lengths`, and `compute` in fp32."""
        content = {name: value for name, value in self.to_dict().items() if name != "eval_lengths"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the study as text and numbers, in the schema of its YAML files.

        That is without what identifies no study: its folder, `shard`, `slurm`, and all of `compute` but a precision
        below fp32.
        """
        return {
            "task": str(self.task),
            "base": choices_text(self.base),
            "arms": [arm.text for arm in self.arms],
            "budget": self.budget.to_dict() | {name: list(values) for name, values in self.search.items()},
            **({"precision": self.compute.precision} if self.compute.precision != "fp32" else {}),
            "match": self.match,
            "seeds": list(self.seeds),
            **({"search_seeds": list(self.search_seeds)} if self.searches or self.space else {}),
            **(self.space.to_dict() if self.space else {}),
            **({"eval_lengths": list(self.eval_lengths)} if self.eval_lengths else {}),
        }


def default_budget(task: Task) -> Budget:
    """Return the budget of the task's default study."""
    return replace(Budget(), **cast(dict[str, Any], dict(task.budget)))
