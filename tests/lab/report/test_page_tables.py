"""Tables of the page: in what arms differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from formers.lab.report.page_tables import differing_choices
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def test_options_that_are_no_parts_are_told_where_arms_differ(study: Study) -> None:
    """An arm that failed came to no model: it differs from the others in nothing."""
    results = study(1)
    assert not all(row.config for row in results.rows)
    assert "width" not in differing_choices(summarize(results))
    other = {"width": 96, "return_conditioned": False}
    rows = (replace(row, config=row.config | other) if row.arm == "linear" else row for row in results.rows)
    told = differing_choices(summarize(replace(results, rows=tuple(rows))))
    assert (told["width"]["linear"], told["width"]["softmax"]) == ("96", "128")
    assert "depth" not in told  # the same in all
    assert "return_conditioned" not in told  # no option of the others
