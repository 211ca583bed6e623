"""Looks of arms: the same ones in every chart of a report."""

from __future__ import annotations

from formers.lab.report.summary import StudySummary
from formers.plot.looks import MAX_LOOKS, Look, assign_looks


def arm_looks(summary: StudySummary) -> dict[str, Look]:
    """Return arm → look for the base, the best arms, and then those without a result, `MAX_LOOKS` in all.

    Looks are assigned in the order in which the arms were given, so that a new result does not repaint the others.
    """
    names = [summary.base, *(arm.name for arm in summary.arms if arm.name != summary.base)][:MAX_LOOKS]
    return assign_looks(name for name in dict.fromkeys(row.arm for row in summary.results.rows) if name in names)
