"""One phase at one size: its candidates take turns side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from formers.bench.measuring.timing import Call, Turns
from formers.bench.phases import Phase
from formers.bench.results import Measurement, Status
from formers.bench.sizes import Sizes
from formers.machine.memory import is_out_of_memory
from formers.part import Unsupported
from formers.part.error_line import first_line_of, one_line_of

_YARDSTICK = "yardstick"
"Name of the matrix product among the candidates."


@dataclass
class CandidateGroup:
    """Candidates that take turns, and their measurements so far.

    Attributes:
        calls, rows: subject → its call, and its measurement.
        taken: for each round, name → seconds.
    """

    phase: Phase
    sizes: Sizes
    calls: dict[str, Call] = field(default_factory=dict)
    rows: dict[str, Measurement] = field(default_factory=dict)
    taken: list[dict[str, float]] = field(default_factory=list)
    turns: Turns | None = None

    def row(self, subject: str, kind: str, **values: object) -> Measurement:
        """Set and return the measurement of a candidate."""
        made = Measurement(subject=subject, kind=kind, status="measured", phase=self.phase, **asdict(self.sizes))
        self.rows[subject] = replace(made, **values)  # type: ignore[arg-type]
        return self.rows[subject]

    def ready(self, yardstick: Call, device: str, seed: int) -> None:
        """Prepare the turns; no candidate can be added afterwards."""
        self.turns = Turns({_YARDSTICK: yardstick, **self.calls}, device=device, seed=seed)

    def round(self) -> None:
        """Take everyone's turn. A candidate that fails is out, with the cause in its measurement."""
        assert self.turns is not None, "call ready() first"
        taken = {}
        for name in self.turns.order():
            try:
                taken[name] = self.turns.take(name)
            except Exception as error:  # whatever a candidate does wrong is its own measurement
                if name == _YARDSTICK:
                    raise
                self.fail(name, error)
        self.taken.append(taken)

    def fail(self, name: str, error: Exception) -> None:
        """Take a candidate out."""
        self.rows[name] = replace(self.rows[name], status=_status(error), cause=_cause(error))
        self.calls.pop(name, None)
        if self.turns is not None:
            self.turns.calls.pop(name, None)

    def results(self) -> list[Measurement]:
        """Return the measurements with their times."""
        return [self._timed(row) for row in self.rows.values()]

    def _timed(self, row: Measurement) -> Measurement:
        if row.status != "measured":
            return row
        if not self.taken:
            return replace(row, status="stopped", cause="stopped before its first round")
        return replace(
            row,
            seconds=tuple(taken[row.subject] for taken in self.taken),
            yardstick=tuple(taken[_YARDSTICK] for taken in self.taken),
        )


def _status(error: Exception) -> Status:
    """Return the status that an error means."""
    if isinstance(error, Unsupported):
        return "unsupported"
    return "out_of_memory" if is_out_of_memory(error) else "failed"


def _cause(error: Exception) -> str:
    """Return an error in one line."""
    return first_line_of(error) if _status(error) == "unsupported" else one_line_of(error)
