"""The page: nothing in a name is markup, and nothing is fetched."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from rich.console import Console

from formers.bench.charts.figures import scaling_figures
from formers.bench.html import render_html
from formers.bench.results import BenchResults, Measurement
from formers.bench.summarize import summarize
from formers.bench.terminal import terminal

ATTACK = "\"'><script>alert(1)</script></style></title><img src=x onerror=alert(2)>"


def poisoned(bench: BenchResults) -> BenchResults:
    rows = tuple(replace(row, subject=row.subject + ATTACK) for row in bench.rows)
    refused = Measurement(subject=ATTACK, kind="mixer", status="refused", cause=ATTACK)
    return replace(
        bench,
        rows=(*rows, refused),
        reference="softmax" + ATTACK,
        environment={ATTACK: ATTACK, "device": ATTACK, "threads": ATTACK},
        command=ATTACK,
        date=ATTACK,
    )


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_text_from_data_stays_text(crossing: BenchResults) -> None:
    refused = Measurement(subject="x", kind="mixer", status="refused", cause="y")
    clean = {tag for tag, _ in Tags(render_html(replace(crossing, rows=(*crossing.rows, refused)))).tags}
    text = render_html(poisoned(crossing))
    tags = Tags(text).tags
    assert "<script>alert" not in text
    assert [tag for tag, _ in tags].count("script") == 1
    assert {tag for tag, _ in tags} <= clean | {"wbr"}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_nothing_is_fetched(crossing: BenchResults) -> None:
    text = render_html(crossing)
    assert not re.search(r"https?://|url\(\s*['\"]?(?!#)|@import", text)
    assert "default-src &#39;none&#39;" in text


def test_the_same_bench_is_the_same_page(crossing: BenchResults) -> None:
    assert render_html(crossing) == render_html(crossing)


def test_one_size_has_a_table_and_no_plot(crossing: BenchResults) -> None:
    [figure] = scaling_figures(replace(crossing, rows=tuple(row for row in crossing.rows if row.length == 512)))
    assert figure.charts == ()
    assert len(figure.rows) == 2
    assert '<svg class="chart' not in render_html(replace(crossing, rows=crossing.rows[:1]))


def printed(bench: BenchResults) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for piece in terminal(summarize(bench)):
        console.print(piece)
    return console.export_text()


def test_a_bench_without_times_says_so() -> None:
    row = Measurement(subject="x", kind="mixer", status="refused", cause="y")
    bench = BenchResults(axis="length", reference="softmax", causal=True, rounds=3, product_flops=1.0, rows=(row,))
    assert "Nothing could be timed." in printed(bench)
    assert "Nothing could be timed." in render_html(bench)
