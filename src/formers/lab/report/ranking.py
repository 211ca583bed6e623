"""The ranking as cells of text, the same for every form of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from formers.lab.report.costs import RANKING_COSTS, Cost
from formers.lab.report.estimate_text import difference_text, estimate_text
from formers.lab.report.search import option_label, option_text, taken_options
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.number_format import NOTHING, fixed


@dataclass(frozen=True, kw_only=True)
class RankingColumn:
    """The heading of a column; its cells hold `text` (set left) or numbers (set right).

    Where there is no room, a terminal leaves out columns that may be spared, those with the largest `spare` first.
    """

    title: str
    text: bool = False
    spare: int = 0


@dataclass(frozen=True, kw_only=True)
class RankingRow:
    """The cells of an arm, or of a reference when `arm` is None."""

    arm: ArmSummary | None
    cells: tuple[str, ...]
    keys: tuple[float | None, ...]
    "The numbers behind the cells, to sort by; None where a cell has none."


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Columns, and one row for every arm and reference, best first, arms without a result last."""

    columns: tuple[RankingColumn, ...]
    rows: tuple[RankingRow, ...]


def ranking(summary: StudySummary) -> Ranking:
    """Return the ranking of `summary`; costs that no arm has are left out. An arm alone has no rank."""
    taken = taken_options(summary)
    costs = [cost for cost in RANKING_COSTS if any(arm.costs[cost.name] is not None for arm in summary.arms)]
    unit = f" ({summary.metric.unit})" if summary.metric.unit else ""
    columns = (
        RankingColumn(title="#" if len(summary.arms) > 1 else ""),
        RankingColumn(title="arm", text=True),
        RankingColumn(title=f"test {summary.metric.label}{unit}"),
        RankingColumn(title="against base" if len(summary.arms) > 1 else "difference"),
        *(RankingColumn(title=option_label(name), spare=1) for name in taken),
        *(RankingColumn(title=cost.label, spare=1 + place) for place, cost in enumerate(costs)),
        RankingColumn(title="finished", text=True),
    )
    rows = tuple(
        _arm_row(summary, entry, taken, costs)
        if isinstance(entry, ArmSummary)
        else _reference_row(summary, *entry, blanks=len(taken) + len(costs))
        for entry in summary.ranked_with_references()
    )
    return Ranking(columns=columns, rows=rows)


def _arm_row(summary: StudySummary, arm: ArmSummary, taken: Sequence[str], costs: Sequence[Cost]) -> RankingRow:
    alone = len(summary.arms) == 1
    difference = "" if alone else "base" if arm.name == summary.base else difference_text(arm.to_base, summary.digits)
    cells = (
        "" if alone else str(arm.rank or NOTHING),
        arm.name,
        estimate_text(arm.metric, summary.digits),
        difference,
        *(option_text(arm.rows[0], name) for name in taken),
        *(cost.text(arm.costs[cost.name]) for cost in costs),
        arm.status,
    )
    keys = (
        arm.rank,
        None,
        arm.metric.mean if arm.metric else None,
        0.0 if arm.name == summary.base else arm.to_base.mean if arm.to_base else None,
        *(_number(option_text(arm.rows[0], name)) for name in taken),
        *(arm.costs[cost.name] for cost in costs),
        len(arm.values),
    )
    return RankingRow(arm=arm, cells=cells, keys=keys)


def _number(text: str) -> float | None:
    """Return the number that a text is; None for other texts."""
    try:
        return float(text)
    except ValueError:
        return None


def _reference_row(summary: StudySummary, name: str, value: float, blanks: int) -> RankingRow:
    base = summary.arm(summary.base).metric if summary.arms else None
    difference = value - base.mean if base else None
    texts = ("", name, fixed(value, summary.digits), fixed(difference, summary.digits, sign=True))
    keys = (None, None, value, difference, *[None] * blanks, None)
    return RankingRow(arm=None, cells=(*texts, *[""] * blanks, "reference"), keys=keys)
