"""Quality at other lengths than the trained one: numbers, cells of tables, and the reasons where there are none."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from formers.lab.report.confidence_interval import Estimate, estimate
from formers.lab.report.estimate_text import estimate_text
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.lab.store.records import LengthResult
from formers.plot.number_format import NOTHING

CANNOT = "cannot"
"""The cell of a model that cannot take a length."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The reason why an arm has no result at some lengths, in the words that it gave at the first of them."""

    arm: str
    lengths: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class LengthTable:
    """The arms that were tested at several lengths, best at the trained one first.

    Attributes:
        lengths: in tokens, from short to long.
        times: each of them over the trained length.
        values: arm → its test metric over seeds at each length; None where it has none.
        refusals: the reasons of those that cannot take a length.
    """

    lengths: tuple[int, ...]
    times: tuple[float, ...]
    values: Mapping[str, tuple[Estimate | None, ...]]
    refusals: tuple[Refusal, ...]

    @property
    def trained(self) -> int:
        """Return the trained length."""
        return round(self.lengths[0] / self.times[0])

    def cannot(self, arm: str, length: int) -> bool:
        """Return whether no seed of an arm can take a length."""
        value = self.values[arm][self.lengths.index(length)]
        return value is None and any(it.arm == arm and length in it.lengths for it in self.refusals)


def length_table(summary: StudySummary) -> LengthTable | None:
    """Return the results of `summary` at other lengths; None where no run was tested at any."""
    found = {arm.name: _results(arm) for arm in summary.ranked}
    found = {name: results for name, results in found.items() if any(result.length for result in results)}
    times = {result.length: result.times for results in found.values() for result in results}
    if len(times) < 2:
        return None
    lengths = tuple(sorted(times))
    name = summary.metric.name
    return LengthTable(
        lengths=lengths,
        times=tuple(times[length] for length in lengths),
        values={arm: tuple(_value(results, length, name) for length in lengths) for arm, results in found.items()},
        refusals=tuple(refusal for arm, results in found.items() for refusal in _refusals(arm, results)),
    )


def length_titles(table: LengthTable) -> tuple[str, ...]:
    """Return the heading of each length: `2× (128)`."""
    return tuple(f"{times:.3g}× ({length:,})" for times, length in zip(table.times, table.lengths, strict=True))


def length_cells(table: LengthTable, arm: str, digits: int) -> tuple[str, ...]:
    """Return the cells of an arm: `1.523 ± 0.012`, `cannot`, or a dash where it was not tested."""
    pairs = zip(table.lengths, table.values[arm], strict=True)
    return tuple(
        estimate_text(value, digits) if value else CANNOT if table.cannot(arm, length) else NOTHING
        for length, value in pairs
    )


def refusal_text(refusal: Refusal) -> str:
    """Return `“learned” cannot be tested at 128 and 256 tokens: learned() knows 64 positions …`."""
    *first, last = (f"{length:,}" for length in refusal.lengths)
    told = f"{', '.join(first)} and {last}" if first else last
    return f"“{refusal.arm}” cannot be tested at {told} tokens: {refusal.reason}"


def lengths_note(summary: StudySummary) -> str:
    """Return the sentences that belong to every form of the table: how lengths compare, and which way is better."""
    better = "Lower" if summary.metric.lower_is_better else "Higher"
    seeds = " ± is a 95 % interval over seeds." if any(len(arm.values) > 1 for arm in summary.ranked) else ""
    told = f"Test {summary.metric.label} at multiples of the trained length. {summary.results.at_other_lengths}"
    return f"{told.strip()} {better} is better.{seeds}"


def _results(arm: ArmSummary) -> list[LengthResult]:
    """Return the results of the runs of an arm that count."""
    return [result for row in arm.rows if row.seed in arm.values for result in row.lengths]


def _value(results: list[LengthResult], length: int, metric: str) -> Estimate | None:
    found = [result.metrics.get(metric, math.nan) for result in results if result.length == length]
    finite = [value for value in found if math.isfinite(value)]
    return estimate(finite) if finite else None


def _refusals(arm: str, results: list[LengthResult]) -> list[Refusal]:
    """Return the reasons of an arm from the shortest length on; those that differ in numbers only are one."""
    groups: dict[str, list[LengthResult]] = {}
    for result in sorted(results, key=lambda result: result.length):
        if result.cannot:
            groups.setdefault(re.sub(r"\d+", "0", result.cannot), []).append(result)
    return [
        Refusal(arm=arm, lengths=tuple(sorted({it.length for it in group})), reason=group[0].cannot)
        for group in groups.values()
    ]
