"""Thousands of malformed cases through every way in, and what came of them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

from campaign.pool import Case, Limits, run_cases
from campaign.verdict import FAULTS, Outcome, Verdict
from campaign.ways import WAYS, enter_case

Item = TypeVar("Item")


def planned_cases(total: int, first_seed: int, only: str = "") -> list[Case]:
    """Return at least `total` cases, every way in with its share of them, in an order drawn at random.

    A way's seeds are the numbers from `first_seed` on: another first seed gives other cases.
    """
    ways = [way for way in WAYS.values() if only in way.name]
    shares = sum(way.share for way in ways)
    counts = {way.name: max(1, -(-total * way.share // shares)) for way in ways}
    cases = [(name, first_seed + k) for name, count in counts.items() for k in range(count)]
    random.Random(first_seed).shuffle(cases)
    return cases


def fuzz(
    cases: Iterable[Case], workers: int, told: Callable[[Outcome], None], limits: Limits | None = None
) -> Outcomes:
    """Return the outcomes of cases; `told` hears of each as it comes."""
    found = Outcomes()
    for outcome in run_cases(cases, enter_case, workers, limits):
        told(outcome)
        found.append(outcome)
    return found


def until(end: float, items: Iterable[Item]) -> Iterator[Item]:
    """Yield items until a moment of the monotonic clock."""
    return takewhile(lambda item: time.monotonic() < end, items)


class Outcomes(list[Outcome]):
    """Outcomes of cases, and the questions that are asked about them."""

    @property
    def faults(self) -> list[Outcome]:
        return [outcome for outcome in self if outcome.verdict in FAULTS]

    def rows(self) -> Iterator[tuple[str, Counter[Verdict]]]:
        """Yield each way in with its counts, then all of them together."""
        for name in sorted({outcome.way for outcome in self}):
            yield name, Counter(outcome.verdict for outcome in self if outcome.way == name)
        yield "all", Counter(outcome.verdict for outcome in self)

    def table(self) -> str:
        """Return the counts as a table in Markdown."""
        lines = ["| way in | cases | " + " | ".join(Verdict) + " |", "|---|" + "--:|" * (1 + len(Verdict))]
        for name, counts in self.rows():
            lines.append(f"| {name} | {counts.total():,} | " + " | ".join(f"{counts[v]:,}" for v in Verdict) + " |")
        return "\n".join(lines)


def shown(outcome: Outcome) -> str:
    """Return a fault in a few lines, with the command that makes it again."""
    again = f"PYTHONPATH=tests python -m campaign --way {outcome.way!r} --seed {outcome.seed}"
    return f"{outcome.verdict}: {outcome.detail[:400]!r}\n    {again}"


def write_log(path: Path, outcomes: Outcomes) -> None:
    """Write every outcome, a line each."""
    lines = (f"{o.way}\t{o.seed}\t{o.verdict}\t{o.detail[:500]!r}\n" for o in outcomes)
    path.write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
