"""What a bench leaves behind: one row for each measurement, and for everything that could not be measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Status: TypeAlias = Literal[
    "measured", "refused", "unsupported", "missing", "out_of_memory", "too_slow", "failed", "stopped"
]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One subject in one phase at one size.

    Attributes:
        subject, kind: its text form, and `mixer` (with its projections) or `kernel` (without).
        phase: what was timed; empty where a subject was turned away as a whole.
        length, width, heads, batch: where; None likewise.
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
        """The value of one size. Raises `ValueError` for a row that has none."""
        value: int | None = getattr(self, axis)
        if value is None:
            raise ValueError(f"{self.subject} was turned away as a whole ({self.status}); it has no {axis}")
        return value


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All rows, and what they depend on.

    Attributes:
        axis: the size that varies.
        reference: the subject that ratios and crossovers refer to.
        causal: whether tokens see only their past.
        rounds: how many were wanted.
        product_flops: operations of the matrix product that is timed in every round, the yardstick of the machine.
        stopped: whether it was broken off.
        environment: versions, device, threads, commit.
        command: what measures it again.
        date: when, ISO.
    """

    axis: str
    reference: str
    causal: bool
    rounds: int
    product_flops: float
    rows: tuple[Row, ...]
    stopped: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    date: str = ""

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows with a time."""
        return tuple(row for row in self.rows if row.seconds)

    @property
    def unmeasured(self) -> tuple[Row, ...]:
        """The rows without one, and why."""
        return tuple(row for row in self.rows if not row.seconds)
