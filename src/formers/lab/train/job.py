"""Jobs: one arm, to be trained with one seed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formers.lab.store.records import Row
from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.choices import OF_TASK, choice_text
from formers.lab.study.command_line import arm_command
from formers.lab.study.study import Study
from formers.lab.train.former_name import known_folder
from formers.part import own_code
from formers.tasks.checks.checked_task import CheckedTask

if TYPE_CHECKING:
    from formers.models import TransformerConfig

_INCIDENTAL = ("transformers_version", "_name_or_path", "architectures", "dtype", "model_type")
"""Entries of a configuration that change nothing in a training."""


def config_json(config: TransformerConfig) -> dict[str, Any]:
    """Return a configuration as JSON, with every value once: without the names that Hugging Face has for sizes."""
    data = json.loads(config.to_json_string(use_diff=False))
    return {name: value for name, value in data.items() if name not in config.attribute_map}


def config_facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a configuration as JSON that decide the outcome of a training."""
    return {name: value for name, value in data.items() if name not in _INCIDENTAL}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One arm of a study with one seed.

    Attributes:
        study: the study that the job is part of.
        arm: the arm, with the sizes that make it comparable.
        config: the arm's whole configuration.
        budget: the study's budget, with the steps that make the arm comparable.
        seed: of the initial weights, of dropout, and of the data's order.
        options: searched option → the value that this job has, in text.
        is_search: the job is to choose between such values: it is measured on the validation split, and not kept.
        search_id: the larger search that the job is a trial of; empty for none.
        latency_seconds: of a forward pass before training, where a search bounds it.
        trained: its row from before, where it is trained and lacks tests at some of the study's lengths only.
        steps_before, examples_before: of earlier stages of the same training; see `stages`.
        checkpoints: where a stage keeps its checkpoints; None for the job's own folder.
        place: facts for the environment of a row that is trained now, from the executor: `jobs`, or `cluster`.
    """

    study: Study
    arm: Arm
    config: TransformerConfig
    budget: Budget
    seed: int
    options: Mapping[str, str] = field(default_factory=dict)
    is_search: bool = False
    search_id: str = ""
    latency_seconds: float | None = None
    trained: Row | None = None
    steps_before: int = 0
    examples_before: int = 0
    checkpoints: Path | None = None
    place: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> CheckedTask:
        """The task that the arm trains on, with every result checked."""
        return self.study.task_of(self.arm)

    @property
    def length(self) -> int:
        """Tokens in an example that the arm trains on."""
        return self.task.task.length

    @property
    def label(self) -> str:
        """The arm's name, with the seed where the study has several, and what is tried where it searches."""
        seeds = self.study.search_seeds if self.is_search else self.study.seeds
        tried = " · " + ", ".join(f"{name}={value}" for name, value in self.options.items()) if self.is_search else ""
        return f"{self.arm.name}{tried}" if len(seeds) == 1 else f"{self.arm.name}{tried} · seed {self.seed}"

    @property
    def config_json(self) -> dict[str, Any]:
        """The configuration as JSON, with every value once: without the names that Hugging Face has for sizes."""
        return config_json(self.config)

    @property
    def _code(self) -> list[str]:
        """The sha256 of each user's file that parts of the model come from; the task's own is in `code_hash`."""
        files = own_code({name: getattr(self.config, name) for name in self.config.part_options})
        return sorted(text_hash for file, text_hash in files.items() if file != self.study.task.origin)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of what decides the outcome: task, data, configuration, budget, seed, and a precision below fp32.

        The arm's name does not.
        """
        facts: dict[str, Any] = {"search": True} if self.is_search else {}
        facts |= {
            "task": str(self.arm.task_of(self.study.task)),
            "data": self.task.data_hash + self.study.task.code_hash + self.task.task.reading_hash,
            "config": config_facts(self.config_json),
            "budget": self.budget.to_dict(),
            "seed": self.seed,
            **({"code": code} if (code := self._code) else {}),
            **({"precision": self.study.compute.precision} if self.study.compute.precision != "fp32" else {}),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def task_choices(self) -> dict[str, str]:
        """The options of the task in which arms of the study differ, with this arm's values, as choices in text."""
        task = self.arm.task_of(self.study.task)
        names = dict.fromkeys(name for arm in self.study.arms for name in arm.task_swaps)
        return {OF_TASK + name: choice_text(getattr(task, name)) for name in names}

    @property
    def slug(self) -> str:
        """A name for files: readable, and different for different jobs."""
        readable = re.sub(r"[^a-z0-9]+", "-", self.arm.name.lower()).strip("-")[:40]
        return f"{readable or 'arm'}-seed{self.seed}-{self.fingerprint[:6]}"

    @property
    def checkpoint_folder(self) -> Path:
        """The folder in which an unfinished training is kept."""
        return self.checkpoints or self.study.folder / "checkpoints" / self.slug

    @property
    def model_folder(self) -> Path:
        """The folder of the trained model; one that was trained under another name of the arm has that."""
        return known_folder(self.new_model_folder)

    @property
    def new_model_folder(self) -> Path:
        """The folder that a model is saved in."""
        return self.study.folder / "models" / self.slug

    def empty_row(self) -> Row:
        """Return the row of this job before anything has been measured."""
        return Row(
            arm=self.arm.name,
            seed=self.seed,
            status="stopped",
            choices=self.config.choices() | self.task_choices,
            config=self.config_json,
            budget=self.budget.to_dict(),
            options=dict(self.options),
            is_search=self.is_search,
            search_id=self.search_id,
            latency_seconds=self.latency_seconds,
            data_hash=self.task.data_hash,
            command=arm_command(self.study, self.arm, self.budget, self.seed),
            fingerprint=self.fingerprint,
        )
