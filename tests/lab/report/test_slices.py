"""Quality on parts of the test split."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from formers.lab.report.slices import all_slices
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results


def test_slices_are_means_over_seeds_in_the_order_given(study: Callable[[int], Results]) -> None:
    results = study(3)
    first, second = all_slices(summarize(results))
    assert (first.title, first.labels) == ("place in the text", ("1–16", "17–32", "33–64", "65–128"))
    own = [row.slices["place in the text"]["17–32"] for row in results.rows if row.arm == "pool"]
    assert first.values["pool"][1] is not None
    assert first.values["pool"][1].mean == pytest.approx(sum(own) / 3)
    assert first.values["pool"][1].half_width is not None
    assert second.labels == ("The Winter’s Tale",)
    assert "performer(features=128)" not in first.values
