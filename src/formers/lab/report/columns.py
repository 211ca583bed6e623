"""The ranking as cells of text, the same for every form of the report."""

from __future__ import annotations

from dataclasses import dataclass

from formers.lab.report.costs import RANKING_COSTS, Cost
from formers.lab.report.headline import difference_text, estimate_text, places
from formers.lab.report.summary import Arm, Summary
from formers.plot.number_format import NOTHING, fixed


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A heading, and whether its cells are words (set left) or numbers (set right)."""

    title: str
    text: bool = False


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One line: an arm's, or a reference's when `arm` is None."""

    arm: Arm | None
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Ranking:
    """Columns, and one line for every arm and reference, best first, arms without a result last."""

    columns: tuple[_Column, ...]
    lines: tuple[_Line, ...]


def ranking(summary: Summary) -> _Ranking:
    """The ranking of `summary`; costs that no arm has are left out."""
    costs = [cost for cost in RANKING_COSTS if any(arm.costs[cost.name] is not None for arm in summary.arms)]
    columns = (
        _Column(title="#"),
        _Column(title="arm", text=True),
        _Column(title=metric_title(summary)),
        _Column(title="against base"),
        *(_Column(title=cost.label) for cost in costs),
        _Column(title="finished", text=True),
    )
    digits = places(summary)
    lines = tuple(
        _arm_line(summary, line, costs, digits)
        if isinstance(line, Arm)
        else _reference_line(summary, *line, blanks=len(costs), digits=digits)
        for line in summary.lines()
    )
    return _Ranking(columns=columns, lines=lines)


def metric_title(summary: Summary) -> str:
    """`test loss (nats/token)`."""
    unit = f" ({summary.metric.unit})" if summary.metric.unit else ""
    return f"test {summary.metric.label}{unit}"


def _arm_line(summary: Summary, arm: Arm, costs: list[Cost], digits: int) -> _Line:
    difference = "base" if arm.name == summary.base else difference_text(arm.to_base, digits)
    cells = (
        str(arm.rank or NOTHING),
        arm.name,
        estimate_text(arm.metric, digits),
        difference,
        *(cost.text(arm.costs[cost.name]) for cost in costs),
        arm.status,
    )
    return _Line(arm=arm, cells=cells)


def _reference_line(summary: Summary, name: str, value: float, blanks: int, digits: int) -> _Line:
    base = summary.arm(summary.base).metric if summary.arms else None
    difference = fixed(value - base.mean if base else None, digits, sign=True)
    return _Line(arm=None, cells=("", name, fixed(value, digits), difference, *[""] * blanks, "reference"))
