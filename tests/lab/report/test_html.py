"""The page: complete as tables, closed to what data might inject, and asking nothing of the network."""

from __future__ import annotations

import base64
import cProfile
import hashlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from formers.lab.report import render_html, write_html
from formers.lab.report.summarize import summarize
from formers.lab.store.records import LengthResult, Point, Results
from formers.tasks import Picture

Study = Callable[[int], Results]


ATTACK = "\"'><script>alert(1)</script></style></title><img src=x onerror=alert(2)>"


def poisoned(results: Results) -> Results:
    """Every text that a study or a user provides, hostile."""
    rows = tuple(
        replace(
            row,
            arm=row.arm + ATTACK,
            cause=ATTACK,
            samples=(ATTACK,),
            command=ATTACK,
            data_hash=ATTACK,
            choices={ATTACK: row.arm + ATTACK},
            environment={ATTACK: ATTACK},
            metrics={**row.metrics, ATTACK: 1.0},
            lengths=(
                LengthResult(length=128, times=1.0, metrics=row.metrics),
                LengthResult(length=256, times=2.0, cannot=ATTACK),
            ),
        )
        for row in results.rows
    )
    metric = replace(results.metric, label=ATTACK, unit=ATTACK)
    return replace(
        results,
        title=ATTACK,
        description=ATTACK,
        budget=ATTACK,
        matched=ATTACK,
        command=ATTACK,
        metric=metric,
        references={ATTACK: 2.0},
        rows=rows,
    )


class Page(HTMLParser):
    """Collects tags with their attributes, and the cells of every table, by section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._section, self._cell = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs).get("id") or ""
        if tag == "tr":
            self.tables.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self.tables[self._section][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.tables[self._section][-1][-1] += " ".join(data.split())


@pytest.mark.parametrize("seeds", [1, 3])
def test_text_from_data_stays_text(study: Study, seeds: int) -> None:
    text = render_html(poisoned(study(seeds)))
    clean = [tag for tag, _ in Page(render_html(study(seeds))).tags]
    tags = Page(text).tags
    assert "<script>alert" not in text
    assert [tag for tag, _ in tags].count("script") == 1
    assert not {tag for tag, _ in tags} - set(clean)
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


def test_nothing_is_fetched(study: Study) -> None:
    text = render_html(study(3))
    assert not re.search(r"https?://|url\(\s*['\"]?(?!#)|@import", text)
    links = [
        value for _, attributes in Page(text).tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(link and link.startswith("data:text/csv") for link in links)


def test_the_policy_allows_the_style_and_the_script_of_the_page_and_nothing_else(study: Study) -> None:
    text = render_html(study(1))
    policy = next(attributes["content"] for tag, attributes in Page(text).tags if "http-equiv" in attributes)
    style, script = (re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script"))
    assert style
    assert script
    hashes = [base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode() for found in (style, script)]
    assert (
        policy == f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    )
    assert not [tag for tag, attributes in Page(text).tags if "style" in attributes]


def test_pictures_are_in_the_page_and_the_policy_allows_them(study: Study) -> None:
    results = study(1)
    gif = Picture.of_file("A pole <i>falls</i>.", b"GIF89a" + bytes(40))
    drawn = replace(results, rows=tuple(replace(row, pictures=(gif,)) for row in results.rows))
    page = Page(render_html(drawn))
    shown = [attributes for tag, attributes in page.tags if tag == "img"]
    assert shown
    assert all(attributes == {"src": gif.uri, "alt": gif.caption} for attributes in shown)
    policy = next(attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes)
    assert policy
    assert policy.startswith("default-src 'none'; img-src data:; style-src")
    assert not [tag for tag, _ in Page(render_html(results)).tags if tag == "img"]


def test_pictures_that_are_too_many_for_a_page_are_left_out(study: Study) -> None:
    results = study(1)
    large = Picture.of_file("large", b"GIF89a" + bytes(300_000))
    drawn = replace(results, rows=tuple(replace(row, pictures=(large,)) for row in results.rows))
    assert [tag for tag, _ in Page(render_html(drawn)).tags].count("img") == 2


def test_the_ranking_is_a_table_with_references_and_failures_in_their_place(study: Study) -> None:
    table = Page(render_html(study(3))).tables["ranking"]
    assert [row[:2] for row in table[1:]] == [
        ["1", "metric"],
        ["2", "softmax"],
        ["3", "dense, danet"],
        ["4", "linear"],
        ["5", "pool"],
        ["", "bigram"],
        ["6", "identity"],
        ["–", "performer(features=128)"],
    ]
    assert table[1][2] == "1.622 ± 0.032"
    assert table[1][4] == "≈ −0.010 ± 0.014"
    assert table[-1][-1] == "failed"


def test_every_number_of_the_charts_is_in_a_table(study: Study) -> None:
    results = study(3)
    page = Page(render_html(results))
    summary = summarize(results)
    learned = {row[0]: row[1:] for row in page.tables["learning"][1:]}
    assert all(learned[arm.name][-1] == f"{arm.curve[-1].value:.3f}" for arm in summary.ranked)
    runs = page.tables["repeat"][1:]
    assert [row[0] for row in runs] == [row.arm for row in results.rows]
    assert [row[-1] for row in runs] == [row.command for row in results.rows]
    assert page.tables["failures"][1][1:] == ["0, 1, 2", "failed", "140, 140, 140", results.rows[-1].cause]
    assert [row[0] for row in page.tables["setup"]].count("softmax") == 2


def test_the_charts_mark_the_references_and_hold_every_arm(study: Study) -> None:
    text = render_html(study(3))
    series = [attributes for tag, attributes in Page(text).tags if attributes.get("class", "").startswith("series")]
    assert {each["data-arm"] for each in series} == {arm.name for arm in summarize(study(3)).arms}
    assert all(
        len(json.loads(each["data-places"] or "")) == len(json.loads(each["data-tips"] or "")) for each in series
    )
    assert text.count(">bigram 2.481") == 7


def test_a_reference_far_away_is_named_at_the_edge(study: Study) -> None:
    assert ">bigram 90.000 ↑<" in render_html(replace(study(1), references={"bigram": 90.0}))


def test_the_same_results_give_the_same_page(study: Study) -> None:
    assert render_html(study(3)) == render_html(study(3))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_do_not_break_the_page(study: Study, value: float) -> None:
    results = study(3)
    broken = replace(
        results.rows[0],
        metrics={"val_loss": value},
        curve=(Point(step=1, seconds=value, values={"val_loss": value}),),
        flops_per_token=value,
        train_seconds=value,
        tokens_per_second=value,
        state_bytes_per_token=value,
    )
    text = render_html(replace(results, rows=(broken, *results.rows[1:]), references={"nothing": value}))
    assert "no finite metric" in text
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"base64,[^\"]*", "", text))


def test_costs_that_are_not_finite_are_missing(study: Study) -> None:
    results = study(3)
    broken = replace(results.rows[0], train_seconds=math.nan, flops_per_token=math.inf, parameters=0)
    still = tuple(replace(point, seconds=0.0) for point in results.rows[1].curve)
    rows = (broken, *(replace(row, curve=still if row.curve else ()) for row in results.rows[1:]))
    text = render_html(replace(results, rows=rows))
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"base64,[^\"]*", "", text), re.IGNORECASE)


def test_degenerate_studies_have_a_page(study: Study) -> None:
    results = study(1)
    assert "No arm finished" in render_html(replace(results, rows=()))
    assert "No arm finished" in render_html(replace(results, rows=results.rows[-1:]))
    failed = [row for row in results.rows if row.status != "finished"][:1]
    half = replace(results, rows=(results.rows[0], *failed), references={})
    assert "No other arm has a result" in render_html(half)
    alone = render_html(replace(results, rows=results.rows[:1], references={}))
    assert "<h2>Result</h2>" in alone
    assert not re.search(r"No other arm|Matched between|The base is|for all arms|What was compared", alone)
    assert Page(alone).tables["ranking"][1][0] == ""
    twins = tuple(replace(results.rows[0], arm=name) for name in "ab")
    assert "All arms have the same parameters" in render_html(replace(results, rows=twins, references={}))


def test_a_thousand_rows_fit(study: Study, tmp_path: Path) -> None:
    results = study(1)
    points = tuple(Point(step=step, seconds=float(step), values={"val_loss": 4 - step / 500}) for step in range(500))
    template = replace(results.rows[0], curve=points, samples=("<&> " * 4000,) * 5)
    rows = tuple(
        replace(template, arm=f"mixer=performer(features={index // 3}), position=alibi()", seed=index % 3)
        for index in range(1000)
    )
    path = write_html(replace(results, rows=rows), tmp_path / "report.html")
    assert path.stat().st_size < 10 * 2**20


def many(study: Study, arms: int) -> Results:
    """So many arms with three seeds each, no two alike."""
    results = study(3)
    templates = results.rows[:3]
    rows = tuple(
        replace(row, arm=f"mixer=performer(features={arm})", train_seconds=row.train_seconds * (1 + arm % 97 / 10))
        for arm in range(arms)
        for row in templates
    )
    return replace(results, rows=rows)


def test_twice_as_many_arms_are_no_more_than_twice_the_work(study: Study) -> None:
    def cost(arms: int) -> tuple[int, int]:
        with cProfile.Profile() as profile:
            page = render_html(many(study, arms))
        return len(page), sum(entry.callcount for entry in profile.getstats())

    (size, calls), (twice, more_calls) = cost(70), cost(140)
    assert twice < 2.1 * size
    assert more_calls < 2.1 * calls
    assert twice < 140 * 3 * 3000


def test_many_arms_have_a_frame_each_up_to_sixty(study: Study) -> None:
    assert '<figure class="small"' not in render_html(study(3))
    few, lots = (render_html(many(study, arms)) for arms in (13, 200))
    assert few.count('<figure class="small"') == 13
    assert lots.count('<figure class="small"') == 60
    assert "The 60 best arms; the other 140 are in report.json" in lots
    assert "Of the 100 best arms and the base" in lots


def test_peak_memory_is_that_of_tensors_and_never_of_the_process(study: Study) -> None:
    results = study(1)
    text = render_html(results)
    assert "the most bytes of tensors alive at once" in text
    assert "Test loss against peak memory" in text
    older = replace(results, rows=tuple(replace(row, tensor_bytes=None) for row in results.rows))
    text = render_html(older)
    assert "Peak memory of tensors is not in these rows" in text
    assert "Test loss against peak memory" not in text
    on_gpu = tuple(replace(row, environment={**row.environment, "device": "NVIDIA H100"}) for row in older.rows)
    assert "Test loss against peak memory" in render_html(replace(older, rows=on_gpu))


def test_the_first_picture_has_the_cost_that_the_task_is_read_against(study: Study) -> None:
    results = study(1)
    by_state = replace(results, metric=replace(results.metric, against="state_bytes"))
    for page, first in ((render_html(results), "training time"), (render_html(by_state), "state size")):
        assert re.findall(r"Test loss against ([a-z ]+)", page)[0] == first


def test_a_page_that_cannot_be_made_leaves_no_file(tmp_path: Path, study: Study) -> None:
    with pytest.raises(TypeError):
        write_html(replace(study(1), references={"bigram": "not a number"}), tmp_path / "report.html")  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


def test_runs_that_shared_a_machine_are_said_to(study: Study) -> None:
    results = study(1)
    assert "shared their machine" not in render_html(results)
    first = replace(results.rows[0], environment={**results.rows[0].environment, "jobs": "2"})
    shared = replace(results, rows=(first, *results.rows[1:]))
    assert "1 of 7 runs shared their machine with others (jobs: 2)" in render_html(shared)
    second = replace(results.rows[1], environment={"cluster": "ray 2.60.0"})
    spread = replace(shared, rows=(first, second, *results.rows[2:]))
    assert "2 of 7 runs shared their machine with others (jobs: 2, ray 2.60.0)" in render_html(spread)
