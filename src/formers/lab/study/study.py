"""A study: a task, a base, arms that differ from it, a budget for each, and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from formers.lab.distributed import ranks
from formers.lab.plan.matching import MATCHES, Match
from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.choices import choice, choices_text
from formers.machine.shell import command_line
from formers.part import Unsupported, check_names
from formers.tasks import parse as parse_task
from formers.tasks.task import Task

if TYPE_CHECKING:
    from formers.models import TransformerConfig

HOME = Path("studies")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What to compare, on what, and how much each arm may spend. What is left out comes from the task's default study.

    Attributes:
        task: the task, or its text form.
        arms: what is compared.
        base: choices that change the task's base configuration for every arm.
        budget: what each arm is given.
        match: what every arm has in common with the first. `steps`: the budget, as it is. `parameters`, `flops`: the number of
            parameters, or of operations per token, too, by the width of the feed-forward or the depth. `time`: seconds of
            training instead of steps, by the pace of each arm's steps on this machine.
        seeds: each arm is trained once per seed.
        shard: whether the processes that `torchrun` starts spread each model over them, instead of holding it whole each. What
            comes out is the same up to rounding, so it is no part of what a study is.
        folder: where rows, models and the report go; by default a folder in `studies/` named after the content.

    Raises:
        ValueError: for an unknown or repeated arm, or a choice that the base cannot take.
    """

    task: Task
    arms: tuple[Arm, ...] = ()
    base: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    match: Match = "steps"
    seeds: tuple[int, ...] = (0,)
    shard: bool = False
    folder: Path | None = None

    def __post_init__(self) -> None:
        task = cast(Task, parse_task(self.task)) if isinstance(self.task, str) else self.task
        arms = tuple(self.arms) or tuple(Arm.parse(text) for text in task.arms)
        filled: dict[str, Any] = {
            "task": task,
            "arms": arms,
            "base": {name: choice(name, value) for name, value in self.base.items()},
            "budget": self.budget or default_budget(task),
            "seeds": tuple(self.seeds),
        }
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        self.check()
        folder = Path(self.folder) if self.folder else HOME / f"{task.name()}-{self.content_hash[:8]}"
        object.__setattr__(self, "folder", folder)

    def check(self) -> None:
        """Raises `ValueError` for repeated arms or seeds, or none, and for a match that there is not."""
        check_names("match", [self.match], list(MATCHES), word="quantity")
        if self.shard and self.match == "time":
            raise ValueError(
                "match='time' paces whole models in one process, which a study with shard is not trained in"
            )
        names = [arm.name for arm in self.arms]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"arms need different names, but {', '.join(map(repr, twice))} comes more than once")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or not all(isinstance(s, int) for s in self.seeds):
            raise ValueError(f"seeds must be different whole numbers, at least one, not {list(self.seeds)}")

    def config(self, arm: Arm) -> TransformerConfig:
        """The whole configuration of an arm. Raises for unknown choices, naming the nearest known one."""
        config = self.task.base()
        for swaps in (self.base, arm.swaps):
            config = config.swap(**swaps) if swaps else config
        return config

    def configs(self) -> dict[str, TransformerConfig | Unsupported]:
        """Arm name → its configuration, or why it cannot exist: every arm is built once, without memory, before any trains.

        Raises:
            ValueError: for an arm that is wrong rather than unsupported (a misspelt option, a width that does not divide).
        """
        return {arm.name: self.tried(arm) for arm in self.arms}

    def tried(self, arm: Arm) -> TransformerConfig | Unsupported:
        """The arm's configuration, after building its model on the meta device; or why it cannot exist."""
        import torch

        try:
            config = self.config(arm)
            with torch.device("meta"):
                self.task.model(config)
        except Unsupported as reason:
            return reason
        except (ValueError, TypeError) as error:
            raise ValueError(f"arm {arm.name!r}: {error}") from error
        return config

    @property
    def content_hash(self) -> str:
        """sha256 of everything but the folder and `shard`."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """The study as text and numbers, in the schema of `formers.lab.study.yaml`, without its folder and `shard`."""
        return {
            "task": str(self.task),
            "base": choices_text(self.base),
            "arms": [arm.text for arm in self.arms],
            "budget": asdict(self.given),
            "match": self.match,
            "seeds": list(self.seeds),
        }

    @property
    def given(self) -> Budget:
        """The budget, filled in."""
        assert self.budget is not None
        return self.budget

    @property
    def place(self) -> Path:
        """The folder, filled in."""
        assert self.folder is not None
        return self.folder

    def command(self) -> str:
        """The command line that runs this study again."""
        words = [*ranks.launcher(), "ablate", str(self.task).removesuffix("()")]
        for arm in self.arms:
            words += ["--arm", arm.text]
        return command_line([*words, *self.shared_words(), "--seeds", _seeds_text(self.seeds)])

    def arm_command(self, arm: Arm, budget: Budget, seed: int) -> str:
        """The command line that trains one arm with one budget and seed again."""
        words = [*ranks.launcher(), "train", str(self.task).removesuffix("()")]
        swaps = {**self.base, **arm.swaps}
        words += [f"{choices_text({name: value})}" for name, value in swaps.items()]
        return command_line([*words, *_budget_words(budget), "--seed", str(seed), *self.shard_words()])

    def shared_words(self) -> list[str]:
        base = ["--base", choices_text(self.base)] if self.base else []
        match = ["--match", self.match] if self.match != "steps" else []
        return [*base, *match, *_budget_words(self.given), *self.shard_words()]

    def shard_words(self) -> list[str]:
        return ["--shard"] if self.shard else []

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """The study in a YAML file; its schema is described in `formers.lab.study.yaml`."""
        from formers.lab.study.yaml import read

        return cast(Self, read(Path(path)))

    def to_yaml(self, path: Path | str) -> None:
        """Writes a file that `from_yaml` reads back equal."""
        from formers.lab.study.yaml import write

        write(self, Path(path))


def default_budget(task: Task) -> Budget:
    """The budget of the task's default study."""
    return replace(Budget(), **cast(dict[str, Any], dict(task.budget)))


def _seeds_text(seeds: tuple[int, ...]) -> str:
    """How many seeds, where they are the first ones; else the list, which a comma tells apart."""
    return str(len(seeds)) if seeds == tuple(range(len(seeds))) else ",".join(map(str, seeds)) + ","


def _budget_words(budget: Budget) -> list[str]:
    """Command-line options that give a budget."""
    return [
        word
        for option in fields(budget)
        for word in (f"--{option.name.replace('_', '-')}", str(getattr(budget, option.name)))
    ]
