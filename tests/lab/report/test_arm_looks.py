"""Looks of arms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from formers.lab.report.arm_looks import arm_looks
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def test_arms_differ_in_shape_where_they_share_a_colour(study: Study) -> None:
    results = study(1)
    many = tuple(replace(results.rows[0], arm=f"arm {index}") for index in range(40))
    dealt = arm_looks(summarize(replace(results, rows=many)))
    assert len(dealt) == len(set(dealt.values())) == 12
