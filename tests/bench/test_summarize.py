"""Growth and crossovers of results."""

from __future__ import annotations

from formers.bench.results import BenchResults
from formers.bench.summarize import summarize


def test_the_summary_knows_growth_and_share(crossing: BenchResults) -> None:
    curves = {curve.subject: curve for curve in summarize(crossing).curves["forward"]}
    assert curves["softmax"].growth is not None
    assert round(curves["softmax"].growth.median, 6) == 2
    assert curves["linear"].memory_growth is not None
    assert round(curves["linear"].memory_growth.median, 6) == 1
    assert curves["linear"].crossover is not None
    assert curves["softmax"].crossover is None
