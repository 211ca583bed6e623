"""The results of a benchmark: a `Measurement` for each subject, phase and size, and for what could not be measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Status: TypeAlias = Literal[
    "measured", "refused", "unsupported", "missing", "out_of_memory", "too_slow", "failed", "stopped"
]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One subject in one phase at one size.

    Attributes:
        subject, kind: its text form, and `mixer` (with its projections) or `kernel` (without).
        phase: empty where a subject was turned away as a whole.
        length, width, heads, batch: the size; None likewise.
        status, cause: `measured`, or what went wrong and why: `refused` names the laws that the part breaks.
        seconds: of one call (of one token, for a step) in every round.
        yardstick: seconds of the matrix product in the same rounds.
        peak_bytes: of tensors alive at once during a call, beyond those before it.
        state_bytes: of the streaming state after `length` tokens.
        flops: of one call; None where they cannot be counted.
    """

    subject: str
    kind: str
    status: Status
    cause: str = ""
    phase: str = ""
    length: int | None = None
    width: int | None = None
    heads: int | None = None
    batch: int | None = None
    seconds: tuple[float, ...] = ()
    yardstick: tuple[float, ...] = ()
    peak_bytes: int | None = None
    state_bytes: int | None = None
    flops: int | None = None

    def size(self, axis: str) -> int:
        """Return the value of one size. Raise ValueError for a measurement without sizes."""
        value: int | None = getattr(self, axis)
        if value is None:
            raise ValueError(f"{self.subject} was turned away as a whole ({self.status}); it has no {axis}")
        return value


@dataclass(frozen=True, kw_only=True)
class BenchResults:
    """All measurements, and what they depend on.

    Attributes:
        axis: the size that varies.
        reference: the subject that ratios and crossovers refer to.
        causal: tokens see only their past.
        rounds: how many were wanted.
        product_flops: operations of the matrix product that is timed in every round, the yardstick of the machine.
        rows: the measurements.
        stopped: broken off before the end.
        environment: versions, device, threads, commit.
        command: measures the same again.
        date: ISO.
    """

    axis: str
    reference: str
    causal: bool
    rounds: int
    product_flops: float
    rows: tuple[Measurement, ...]
    stopped: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    date: str = ""

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """Return the measurements with a time."""
        return tuple(row for row in self.rows if row.seconds)

    @property
    def unmeasured(self) -> tuple[Measurement, ...]:
        """Return those without one; their status and cause say why."""
        return tuple(row for row in self.rows if not row.seconds)
