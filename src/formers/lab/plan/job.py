"""A job: one arm, to be trained with one seed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formers.lab.store.records import Row
from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.choices import choices_text
from formers.lab.study.study import Study
from formers.machine.environment import environment
from formers.part import Unsupported, value_text
from formers.tasks.task import digest

if TYPE_CHECKING:
    from formers.models import TransformerConfig

_INCIDENTAL = ("transformers_version", "_name_or_path", "architectures", "dtype", "model_type")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One arm of a study with one seed, its configuration and its budget: those of the study, but for what was matched."""

    study: Study
    arm: Arm
    config: TransformerConfig
    budget: Budget
    seed: int

    @property
    def label(self) -> str:
        """The arm's name, with the seed where the study has several."""
        return self.arm.name if len(self.study.seeds) == 1 else f"{self.arm.name} · seed {self.seed}"

    @property
    def plain_config(self) -> dict[str, Any]:
        """The configuration as JSON, every value given."""
        return json.loads(self.config.to_json_string(use_diff=False))

    @property
    def fingerprint(self) -> str:
        """sha256 of what decides the outcome: task, data, configuration, budget, seed. The arm's name does not."""
        facts = {
            "task": str(self.study.task),
            "data": self.study.task.data_hash + self.study.task.code_hash,
            "config": {name: value for name, value in self.plain_config.items() if name not in _INCIDENTAL},
            "budget": asdict(self.budget),
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def slug(self) -> str:
        """A name for files: readable, and different for different jobs."""
        readable = re.sub(r"[^a-z0-9]+", "-", self.arm.name.lower()).strip("-")[:40]
        return f"{readable or 'arm'}-seed{self.seed}-{self.fingerprint[:6]}"

    @property
    def checkpoints(self) -> Path:
        """Where an unfinished training is kept."""
        return self.study.place / "checkpoints" / self.slug

    @property
    def model_folder(self) -> Path:
        """Where the trained model goes."""
        return self.study.place / "models" / self.slug

    def row(self) -> Row:
        """The row of this job before anything has happened."""
        return Row(
            arm=self.arm.name,
            seed=self.seed,
            status="stopped",
            choices=self.config.choices(),
            config=self.plain_config,
            data_hash=self.study.task.data_hash,
            command=self.study.arm_command(self.arm, self.budget, self.seed),
            fingerprint=self.fingerprint,
        )


def impossible(study: Study, arm: Arm, seed: int, reason: Unsupported) -> Row:
    """The row of an arm that cannot exist."""
    swaps = {**study.base, **arm.swaps}
    return Row(
        arm=arm.name,
        seed=seed,
        status="unsupported",
        cause=" ".join(str(reason).split()),
        choices=study.task.base().choices() | {name: value_text(value) for name, value in swaps.items()},
        environment=environment(),
        data_hash=study.task.data_hash,
        command=study.arm_command(arm, study.given, seed),
        fingerprint=digest([study.task, study.given, choices_text(swaps), seed, reason]),
    )
