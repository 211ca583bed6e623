"""The first sentence of a benchmark says who is fastest where the rounds carry it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from formers.bench.headline import headline
from formers.bench.results import BenchResults
from formers.bench.summarize import summarize


def test_who_takes_longer_in_every_round_is_slower(made_up: Callable[..., BenchResults]) -> None:
    results = made_up({"softmax": lambda n: 1e-6 * n, "linear": lambda n: 0.99e-6 * n})
    assert headline(summarize(results))[0].startswith("“linear” is the fastest mixer at length 2,048: forward in ")


def test_who_is_ahead_in_some_rounds_alone_is_not_told_apart(made_up: Callable[..., BenchResults]) -> None:
    results = made_up({"softmax": lambda n: 1e-6 * n, "linear": lambda n: 1.001e-6 * n, "slow": lambda n: 2e-6 * n})
    uneven = [
        replace(row, seconds=tuple(reversed(row.seconds))) if row.subject == "linear" else row for row in results.rows
    ]
    said = headline(summarize(replace(results, rows=tuple(uneven))))[0]
    assert said.startswith("“softmax” and “linear” are the fastest mixers at length 2,048, not told apart: forward in ")
