"""A forecast of the next size from those before it: nobody waits for an hour, or runs out of memory twice."""

from __future__ import annotations

import math

from formers.bench.results import Measurement, Status
from formers.bench.sizes import Sizes


class Forecast:
    """The time and memory of one subject in one phase at sizes to come.

    Args:
        axis: the size that varies.
        patience: seconds that one call may take.
    """

    def __init__(self, axis: str, patience: float) -> None:
        self.axis, self.patience = axis, patience
        self.times: list[tuple[int, float]] = []
        self.problem: tuple[int, Measurement] | None = None

    def took(self, sizes: Sizes, seconds: float) -> None:
        """Note the time of a call, sizes ascending."""
        self.times.append((getattr(sizes, self.axis), seconds))

    def failed(self, sizes: Sizes, row: Measurement) -> None:
        """Note that a size failed."""
        self.problem = self.problem or (getattr(sizes, self.axis), row)

    def objection(self, sizes: Sizes) -> tuple[Status, str] | None:
        """Return why the next size is not to be tried, as a status and a cause; None where it is."""
        size = getattr(sizes, self.axis)
        if self.problem is not None and self.problem[1].status == "out_of_memory":
            return "out_of_memory", f"not tried: {self.axis} {self.problem[0]:,} did not fit"
        expected = self.expected(size)
        if expected > self.patience:
            return (
                "too_slow",
                f"a call would take about {expected:.0f} s, more than the {self.patience:g} s of patience",
            )
        return None

    def expected(self, size: int) -> float:
        """Return the seconds at a size, on the line through the last two; 0 while too little is known."""
        if not self.times:
            return 0.0
        (last, time) = self.times[-1]
        exponent = 1.0
        if len(self.times) > 1:
            (before, earlier) = self.times[-2]
            exponent = max(0.0, math.log(time / earlier) / math.log(last / before))
        return float(time * (size / last) ** exponent)
