"""The ranking as Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from formers.lab.report import to_markdown
from formers.lab.store.records import Results

Study = Callable[[int], Results]


def with_row(results: Results, **changes: object) -> Results:
    """`results` with its first row changed."""
    return replace(results, rows=(replace(results.rows[0], **changes), *results.rows[1:]))


def test_markdown_cells_stay_cells(study: Study) -> None:
    arms = with_row(study(1), arm="a|b\n<img>")
    table = [line for line in to_markdown(arms).splitlines() if line.startswith("|")]
    assert any(r"a\|b \<img\>" in line for line in table)
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
