"""The resources of an arm that is a job of a Slurm cluster: partition, GPUs, cores, memory, time."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from formers.part import check_names, quoted

AUTO, OFF = "auto", "off"
"""The texts for a job with all defaults, and for no jobs at all: arms train in this process."""
_MOST = {"gpus": 1024, "cores": 4096, "at_once": 100_000, "restarts": 1000}
"""Numbers that nobody means: what is above them is a slip."""
_UNITS = {"d": 24 * 60.0, "h": 60.0, "m": 1.0}
"""Minutes."""
_WITH_UNITS = re.compile(r"(?:(\d+(?:\.\d+)?)\s*d)?\s*(?:(\d+(?:\.\d+)?)\s*h)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in)?)?")
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)|(\d+)-(\d+)(?::(\d\d))?")
_MEMORY = re.compile(r"(\d+)\s*([KMGT])(?:i?B)?", re.IGNORECASE)
_BETWEEN = re.compile(r",\s*(?=\w+\s*=)")
"""What separates options in a text: a comma before the next name, so that a value may hold others."""


@dataclass(frozen=True, kw_only=True)
class SlurmResources:
    """What each arm is given as a job of a Slurm cluster. What is left out, the cluster decides.

    Attributes:
        partition: the partition, or several of them with commas.
        account: the account that is charged.
        qos: the quality of service.
        constraint: features that a node must have.
        gpus: GPUs of an arm; a model trains on one.
        cores: cores of an arm, and threads of its sums.
        memory: memory of an arm with its unit, as 16G.
        time: time after which an arm writes a checkpoint and goes back into the queue, as 4h, 90m, 2d or 1-12:00:00.
        restarts: how often an arm may run out of its time and go on; after that its row is failed.
        at_once: most arms that run at a time; 0 for as many as there is room for.
        setup: lines of shell before an arm begins, as `module load cuda`; in a text, separated by newlines.
        sbatch: any other options of `sbatch`, as `--exclude=node7 --reservation=ours`.

    Raises:
        TypeError, ValueError: for an option of a wrong type, and for what Slurm could not read.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gpus: int = 0
    cores: int = 1
    memory: str = ""
    time: str = "1h"
    restarts: int = 10
    at_once: int = 0
    setup: tuple[str, ...] = ()
    sbatch: str = ""

    def __post_init__(self) -> None:
        lines = self.setup.splitlines() if isinstance(self.setup, str) else self.setup
        object.__setattr__(self, "setup", tuple(lines) if isinstance(lines, (list, tuple)) else lines)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "setup":
                if not isinstance(value, tuple) or not all(isinstance(line, str) for line in value):
                    raise TypeError(f"slurm: setup is a list of lines of shell, but {quoted(value)} was given")
            elif field.type == "int":
                self._check_number(field.name, value)
            elif not isinstance(value, str):
                raise TypeError(f"slurm: {field.name} is a text{_hint(field.name)}, but {quoted(value)} was given")
        if self.memory and not _MEMORY.fullmatch(self.memory.strip()):
            raise ValueError(f"slurm: memory is a number with its unit, 16G or 500M, not {quoted(self.memory)}")
        assert self.minutes
        assert self.sbatch_options is not None

    def _check_number(self, name: str, value: Any) -> None:
        if type(value) is not int:
            raise TypeError(f"slurm: {name} is a whole number, but {quoted(value)} was given")
        if not (name == "cores") <= value <= _MOST[name]:
            least = int(name == "cores")
            raise ValueError(f"slurm: {name} is from {least} to {_MOST[name]:,}, but {value:,} was given")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text such as `partition=gpu, gpus=1, time=4h` means; `auto` leaves everything to the cluster.

        Raises:
            TypeError, ValueError: for an unknown option, with the nearest known one, or a value that does not fit.
        """
        return cls(**parse_options(text))

    @property
    def given(self) -> dict[str, Any]:
        """The options that are not as they are by default, as YAML holds them."""
        default = asdict(SlurmResources())
        values = {name: value for name, value in asdict(self).items() if value != default[name]}
        return values | ({"setup": list(self.setup)} if self.setup else {})

    @property
    def text(self) -> str:
        """The options as `parse` reads them."""
        given = {name: "\n".join(value) if name == "setup" else value for name, value in self.given.items()}
        return ", ".join(f"{name}={value}" for name, value in given.items()) or AUTO

    @property
    def minutes(self) -> int:
        """The time in whole minutes, rounded up."""
        minutes = _minutes(self.time.strip())
        if minutes is None:
            raise ValueError(f"slurm: time is one with its unit, 4h, 90m, 2d or 1-12:00:00, not {quoted(self.time)}")
        if not 1 <= minutes <= 366 * 24 * 60:
            raise ValueError(f"slurm: time is from a minute to a year, not {quoted(self.time)}")
        return minutes

    @property
    def sbatch_options(self) -> dict[str, Any]:
        """Further options of `sbatch`: name → value, True where it has none."""
        try:
            words = shlex.split(self.sbatch)
        except ValueError as error:
            raise ValueError(f"slurm: sbatch={quoted(self.sbatch)} cannot be taken apart: {error}") from None
        if wrong := [word for word in words if not re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word, re.DOTALL)]:
            raise ValueError(f"slurm: sbatch takes options as --name=value, but {quoted(wrong[0])} was given")
        pairs = (word[2:].partition("=") for word in words)
        return {name: value if equals else True for name, equals, value in pairs}


def parse_options(text: str) -> dict[str, Any]:
    """Return option → value in a text such as `partition=gpu, gpus=1`; nothing for `auto`. Raise ValueError."""
    if text.strip() in ("", AUTO):
        return {}
    options: dict[str, Any] = {}
    numbers = {field.name for field in fields(SlurmResources) if field.type == "int"}
    for piece in filter(None, map(str.strip, _BETWEEN.split(text))):
        name, equals, value = (it.strip() for it in piece.partition("="))
        if not equals:
            raise ValueError(
                f"slurm: {quoted(piece)} is no option; expected {AUTO}, {OFF}, or options such as "
                "'partition=gpu, gpus=1, time=4h, memory=16G'"
            )
        check_names("slurm", [name], [field.name for field in fields(SlurmResources)])
        if name in options:
            raise ValueError(f"slurm: {name} is given twice")
        options[name] = int(value) if name in numbers and value.isdecimal() else value
    return options


def read_resources(value: Any) -> SlurmResources | None:
    """Return what `slurm:` in a YAML file means: a mapping of options, or a text; None where arms train here.

    Raises:
        TypeError, ValueError: as `SlurmResources`.
    """
    if value is None or value is False or value == OFF:  # YAML takes off for false
        return None
    if isinstance(value, str):
        return SlurmResources.parse(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"slurm is a mapping such as {{partition: gpu, gpus: 1}}, or {AUTO}, not {quoted(value)}")
    check_names("slurm", map(str, value), [field.name for field in fields(SlurmResources)])
    return SlurmResources(**value)


def _hint(name: str) -> str:
    """Return how a text is written that YAML may take for a number."""
    return {"time": " with its unit, 4h or '4:00:00' in quotes", "memory": " with its unit, 16G"}.get(name, "")


def _minutes(text: str) -> int | None:
    """Return the minutes of `4h`, `1h 30m`, `2d`, or of Slurm's own `4:00:00` and `1-12:00`; None for other texts."""
    if text and (found := _WITH_UNITS.fullmatch(text)):
        amounts = zip(found.groups(), _UNITS.values(), strict=True)
        return _rounded_up(sum(float(amount or 0) * unit for amount, unit in amounts))
    if found := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds, only_days, day_hours, day_minutes = (int(it or 0) for it in found.groups())
        whole = (days + only_days) * 24 * 60 + (hours + day_hours) * 60 + minutes + day_minutes
        return _rounded_up(whole + seconds / 60)
    return None


def _rounded_up(minutes: float) -> int:
    return int(-(-minutes // 1))
