"""The page and the terminal say what was measured, and nothing in a name is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from formers.bench.export import dump
from formers.bench.figures import scaling_figures
from formers.bench.html import render_html
from formers.bench.record import Bench, Row
from formers.bench.summary import summarize
from formers.bench.terminal import terminal
from formers.lab.report import render_html as render_study
from formers.lab.report.publish import scaling
from formers.lab.store.records import Results, TaskMetric
from formers.lab.store.records import Row as StudyRow

from .conftest import made_up

ATTACK = "\"'><script>alert(1)</script></style></title><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def poisoned(bench: Bench) -> Bench:
    rows = tuple(replace(row, subject=row.subject + ATTACK) for row in bench.rows)
    refused = Row(subject=ATTACK, kind="mixer", status="refused", cause=ATTACK)
    return replace(
        bench,
        rows=(*rows, refused),
        reference="softmax" + ATTACK,
        environment={ATTACK: ATTACK, "device": ATTACK, "threads": ATTACK},
        command=ATTACK,
        date=ATTACK,
    )


def test_text_from_data_stays_text(crossing: Bench) -> None:
    refused = Row(subject="x", kind="mixer", status="refused", cause="y")
    clean = {tag for tag, _ in Tags(render_html(replace(crossing, rows=(*crossing.rows, refused)))).tags}
    text = render_html(poisoned(crossing))
    tags = Tags(text).tags
    assert "<script>alert" not in text
    assert [tag for tag, _ in tags].count("script") == 1
    assert {tag for tag, _ in tags} <= clean | {"wbr"}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_nothing_is_fetched(crossing: Bench) -> None:
    text = render_html(crossing)
    assert not re.search(r"https?://|url\(\s*['\"]?(?!#)|@import", text)
    assert "default-src &#39;none&#39;" in text


def test_the_same_bench_is_the_same_page(crossing: Bench) -> None:
    assert render_html(crossing) == render_html(crossing)


def test_a_ring_marks_the_crossover(crossing: Bench) -> None:
    [figure] = scaling_figures(crossing)
    time, memory = figure.charts
    [ring] = [series for series in time.series if not series.filled]
    assert ring.name == "linear"
    assert ring.label is not None
    assert ring.label.text == "700"
    x = [tick for tick, _ in time.x_ticks]
    assert x[1] < ring.mark[0] < x[2]
    assert [text for _, text in time.x_ticks] == ["256", "512", "1,024", "2,048"]
    assert [series.name for series in memory.series] == ["linear", "softmax"]


def test_rings_side_by_side_have_labels_apart() -> None:
    times = {"softmax": lambda n: 1e-8 * n**2, "linear": lambda n: 7e-6 * n, "performer": lambda n: 7.3e-6 * n}
    [figure] = scaling_figures(made_up(times))
    rings = [series for series in figure.charts[0].series if not series.filled]
    assert [ring.label.text for ring in rings if ring.label] == ["700", "730"]
    (left, right) = (ring.label for ring in rings)
    assert left is not None
    assert right is not None
    assert abs(left.x - right.x) > 20 or abs(left.y - right.y) > 11


def test_no_ring_where_nothing_crosses() -> None:
    bench = made_up({"softmax": lambda n: 1e-8 * n, "linear": lambda n: 2e-8 * n})
    [figure] = scaling_figures(bench)
    assert all(series.filled for series in figure.charts[0].series)
    assert "at no length up to 2,048" in str(figure.lines)


def test_one_size_has_a_table_and_no_plot(crossing: Bench) -> None:
    [figure] = scaling_figures(replace(crossing, rows=tuple(row for row in crossing.rows if row.length == 512)))
    assert figure.charts == ()
    assert len(figure.lines) == 2
    assert '<svg class="chart' not in render_html(replace(crossing, rows=crossing.rows[:1]))


def test_values_that_are_close_together_or_equal_have_marks_too() -> None:
    bench = made_up({"softmax": lambda n: 3.1e-3, "linear": lambda n: 3.3e-3})
    alike = replace(bench, rows=tuple(replace(row, peak_bytes=4000) for row in bench.rows))
    [figure] = scaling_figures(alike)
    assert [len(chart.y_ticks) > 2 for chart in figure.charts] == [True, True]


def test_a_study_shows_the_bench_in_its_folder(crossing: Bench, tmp_path: Path) -> None:
    rows = (StudyRow(arm="softmax", seed=0, status="finished", metrics={"loss": 1.0}),)
    metric = TaskMetric(name="loss", label="loss", unit="", lower_is_better=True)
    results = Results(title="a study", description="", metric=metric, rows=rows)
    without = render_study(results, scaling(tmp_path))
    dump(crossing, tmp_path / "bench.json")
    shown = render_study(results, scaling(tmp_path))
    assert "Cost against length" not in without
    for words in ("Cost against length", "Forward", "from 700 (700–700)", 'class="chart scaling"'):
        assert words in shown
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bench.json: this is not a bench"):
        scaling(tmp_path)


def test_the_summary_knows_growth_and_share(crossing: Bench) -> None:
    lines = {line.subject: line for line in summarize(crossing).lines["forward"]}
    assert lines["softmax"].growth is not None
    assert round(lines["softmax"].growth.median, 6) == 2
    assert lines["linear"].memory_growth is not None
    assert round(lines["linear"].memory_growth.median, 6) == 1
    assert lines["linear"].crossover is not None
    assert lines["softmax"].crossover is None


def printed(bench: Bench) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for piece in terminal(summarize(bench)):
        console.print(piece)
    return console.export_text()


def test_the_terminal_says_it_plainly(crossing: Bench) -> None:
    refused = Row(subject="[bold]x[/bold]", kind="mixer", status="refused", cause="cannot_see_the_future: it moved")
    text = printed(replace(crossing, rows=(*crossing.rows, refused)))
    assert "“linear” is the fastest mixer at length 2,048" in text
    assert "from 700 (700–700)" in text
    assert "not timed: [bold]x[/bold] (everywhere): refused: cannot_see_the_future: it moved" in text
    assert "The machine was steady" in text


def test_a_noisy_machine_is_called_noisy(crossing: Bench) -> None:
    shaky = tuple(replace(row, yardstick=(0.01, 0.02, 0.01, 0.02, 0.01, 0.02, 0.01)) for row in crossing.rows)
    assert "too noisy" in printed(replace(crossing, rows=shaky))


def test_a_bench_without_times_says_so() -> None:
    row = Row(subject="x", kind="mixer", status="refused", cause="y")
    bench = Bench(axis="length", reference="softmax", causal=True, rounds=3, product_flops=1.0, rows=(row,))
    assert "Nothing could be timed." in printed(bench)
    assert "Nothing could be timed." in render_html(bench)
