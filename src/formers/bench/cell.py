"""One phase at one size: all its candidates, side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from formers.bench.phases import Phase
from formers.bench.record import Row, Status
from formers.bench.sizes import Sizes
from formers.bench.timing import Call, Turns
from formers.machine.memory import memory_ran_out
from formers.part import Unsupported

_YARDSTICK = "yardstick"
"""The name of the matrix product among the candidates."""


@dataclass
class Cell:
    """Candidates that take turns, and their rows so far.

    Attributes:
        calls, rows: subject → what is timed, and its row.
        taken: for each round, name → seconds.
    """

    phase: Phase
    sizes: Sizes
    calls: dict[str, Call] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    taken: list[dict[str, float]] = field(default_factory=list)
    turns: Turns | None = None

    def row(self, subject: str, kind: str, **values: object) -> Row:
        """A row of this cell: of a candidate, or of what went wrong."""
        made = Row(subject=subject, kind=kind, status="measured", phase=self.phase, **asdict(self.sizes))
        self.rows[subject] = replace(made, **values)  # type: ignore[arg-type]
        return self.rows[subject]

    def ready(self, yardstick: Call, device: str, seed: int) -> None:
        """No further candidate comes; turns may be taken."""
        self.turns = Turns({_YARDSTICK: yardstick, **self.calls}, device=device, seed=seed)

    def round(self) -> None:
        """Everyone's turn. A candidate that fails is out, and its row says why."""
        assert self.turns is not None, "call ready() first"
        taken = {}
        for name in self.turns.order():
            try:
                taken[name] = self.turns.take(name)
            except Exception as error:  # whatever a candidate does wrong is its own row
                if name == _YARDSTICK:
                    raise
                self.fail(name, error)
        self.taken.append(taken)

    def fail(self, name: str, error: Exception) -> None:
        """Takes a candidate out."""
        self.rows[name] = replace(self.rows[name], status=_failure(error), cause=cause(error))
        self.calls.pop(name, None)
        if self.turns is not None:
            self.turns.calls.pop(name, None)

    def results(self) -> list[Row]:
        """The rows with their times."""
        return [self.timed(row) for row in self.rows.values()]

    def timed(self, row: Row) -> Row:
        if row.status != "measured":
            return row
        if not self.taken:
            return replace(row, status="stopped", cause="stopped before its first round")
        return replace(
            row,
            seconds=tuple(taken[row.subject] for taken in self.taken),
            yardstick=tuple(taken[_YARDSTICK] for taken in self.taken),
        )


def _failure(error: Exception) -> Status:
    """The status that an error means."""
    if isinstance(error, Unsupported):
        return "unsupported"
    return "out_of_memory" if memory_ran_out(error) else "failed"


def cause(error: Exception) -> str:
    """An error in one line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return first if _failure(error) == "unsupported" else f"{type(error).__name__}: {first}".removesuffix(": ")
