"""The report as one HTML file that opens offline, with its charts drawn as SVG."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from formers.lab.report import costs, matching
from formers.lab.report.columns import metric_title, ranking
from formers.lab.report.export import csv_of
from formers.lab.report.headline import estimate_text, headline, over_items, places
from formers.lab.report.slices import slices
from formers.lab.report.summary import Summary, problem, summarize
from formers.lab.store.records import Results, Row
from formers.machine.files import write_atomically
from formers.plot import charts
from formers.plot.looks import PLAIN, Look, looks
from formers.plot.number_format import fixed, percent, visible

if TYPE_CHECKING:
    from formers.bench.figures import Figure

_STRIP = 110
"Width of the small pictures in the ranking, in pixels."
_SAMPLES, _SAMPLE = 3, 1500
"Samples an arm, and characters of each."
_STEPS = 8
"Steps in the table of the learning curves."


def write_html(results: Results, path: Path, scaling: Sequence[Figure] = ()) -> Path:
    """Write the report of `results` to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, render_html(results, scaling))


def render_html(results: Results, scaling: Sequence[Figure] = ()) -> str:
    """The report of `results` as one page that asks for nothing else, and that says the same for the same results.

    `scaling`: what `formers.bench.figures.scaling_figures` draws of a bench of the same parts.
    """
    return render("template.html.jinja", {**_contents(summarize(results)), "scaling_figures": scaling})


def render(template: str, contents: Mapping[str, object]) -> str:
    """A template of this folder as a whole page, with the style and the script that all pages share."""
    folder = Path(__file__).parent
    css, script = ((folder / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    environment = Environment(
        loader=PackageLoader("formers.lab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, fixed=fixed, breakable=_breakable, estimate=estimate_text)
    page = environment.get_template(template).render(
        css=Markup(css), script=Markup(script), policy=_policy(css, script), **contents
    )
    return visible(page)


def _breakable(text: str) -> Markup:
    """`text`, escaped, that may break after an opening bracket, a comma, or an equals sign."""
    return Markup("<wbr>").join(re.split(r"(?<=[(,=])(?![) ])", text))


def _policy(css: str, script: str) -> str:
    """A content security policy: no request to anywhere, and no style or script but the two of this package."""
    style_hash, script_hash = (base64.b64encode(hashlib.sha256(x.encode()).digest()).decode() for x in (css, script))
    return f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'"


def _contents(summary: Summary) -> dict[str, object]:
    look = looks(summary)
    drawn = [charts.trade(summary, cost, look) for cost in costs.TRADED_COSTS]
    return {
        "summary": summary,
        "results": summary.results,
        "headline": headline(summary),
        "ranking": ranking(summary),
        "metric_title": metric_title(summary),
        "places": places(summary),
        "looks": look,
        "plain": PLAIN,
        "strip_width": _STRIP,
        "strips": charts.strips(summary, _STRIP),
        "strip_references": charts.strip_references(summary, _STRIP),
        "trades": [chart for chart in drawn if isinstance(chart, charts.Chart)],
        "same": [sentence for sentence in drawn if isinstance(sentence, str) and sentence],
        "slices": slices(summary, look),
        "curves": [chart for by in ("step", "seconds") if (chart := charts.learning(summary, look, by))],
        "curve_table": _curve_table(summary),
        "choices": _choices(summary),
        "matched_sentence": matching.matched_sentence(summary),
        "unmatched_sentence": matching.unmatched_sentence(summary),
        "budget_costs": [*costs.MATCHABLE.values(), costs.MEMORY, costs.STATE_SIZE],
        "matched_cost": costs.MATCHABLE.get(summary.results.matched),
        "unequal": matching.unequal,
        "over_seeds": any(arm.metric and arm.metric.half_width is not None for arm in summary.ranked),
        "over_items": over_items(summary),
        "contention": _contention(summary),
        "samples": samples(summary, look),
        "failures": failures(summary),
        "metric_names": list(dict.fromkeys(name for row in summary.results.rows for name in row.metrics)),
        "numbered": any(charts.short_name(arm) != arm.name for arm in summary.ranked),
        "many_seeds": any(len(arm.values) > 1 for arm in summary.arms),
        "time": costs.TIME,
        "environment": _environment_of(summary),
        "csv": base64.b64encode(csv_of(summary).encode("utf-8", "replace")).decode(),
    }


@dataclass(frozen=True, kw_only=True)
class _CurveTable:
    """The learning curves as numbers: arm → value at each of `steps`, None where it has none."""

    steps: tuple[int, ...]
    lines: Mapping[str, tuple[float | None, ...]]


def _curve_table(summary: Summary) -> _CurveTable:
    """Every arm's curve at up to eight of the steps that were measured, evenly chosen, the last one included."""
    every = sorted({point.step for arm in summary.arms for point in arm.curve})
    last = len(every) - 1
    chosen = every if len(every) <= _STEPS else [every[round(i * last / (_STEPS - 1))] for i in range(_STEPS)]
    curves = {arm.name: {point.step: point.value for point in arm.curve} for arm in summary.arms if arm.curve}
    lines = {name: tuple(curve.get(step) for step in chosen) for name, curve in curves.items()}
    return _CurveTable(steps=tuple(chosen), lines=lines)


def _choices(summary: Summary) -> dict[str, dict[str, str]]:
    """Axis → arm → part, for the axes on which arms differ."""
    axes = dict.fromkeys(axis for arm in summary.arms for axis in arm.rows[0].choices)
    table = {axis: {arm.name: arm.rows[0].choices.get(axis, "") for arm in summary.arms} for axis in axes}
    return {axis: parts for axis, parts in table.items() if len(set(parts.values())) > 1}


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """Runs of one arm that failed alike."""

    arm: str
    status: str
    cause: str
    rows: tuple[Row, ...]


def failures(summary: Summary) -> list[_Failure]:
    """The runs without a result, those of one arm with the same cause together."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in summary.failures:
        groups.setdefault((row.arm, problem(row, summary.metric), row.cause), []).append(row)
    return [
        _Failure(arm=arm, status=status, cause=cause, rows=tuple(rows)) for (arm, status, cause), rows in groups.items()
    ]


def samples(summary: Summary, look: Mapping[str, Look]) -> dict[str, list[str]]:
    """Arm → what its first run with samples wrote, shortened, for the arms in `look`: more, nobody reads side by side."""
    arms = [arm for arm in summary.arms if arm.name in look]
    found = {arm.name: next((row.samples for row in arm.rows if row.samples), ()) for arm in arms}
    return {name: [_shortened(text) for text in texts[:_SAMPLES]] for name, texts in found.items() if texts}


def _shortened(text: str) -> str:
    return text if len(text) <= _SAMPLE else f"{text[:_SAMPLE]}… ({len(text)} characters in all)"


def _contention(summary: Summary) -> str:
    """A sentence where runs shared a machine; empty where each had it for itself."""
    ways = [
        row.environment.get("cluster") or f"jobs: {row.environment.get('jobs', '1')}" for row in summary.results.rows
    ]
    shared = [way for way in ways if way != "jobs: 1"]
    if not shared:
        return ""
    return (
        f"{len(shared)} of {len(ways)} runs shared their machine with others ({', '.join(sorted({*shared}))}), so their training "
        "times and tokens/s depend on their neighbours: compare them with care."
    )


def _environment_of(summary: Summary) -> dict[str, list[tuple[str, int]]]:
    """Name → [(value, runs that have it)]: one value where every run saw the same."""
    rows = summary.results.rows
    pairs = [(name, value) for row in rows for name, value in row.environment.items()]
    pairs += [("data", row.data_hash) for row in rows if row.data_hash]
    table: dict[str, list[tuple[str, int]]] = {}
    for (name, value), runs in Counter(pairs).items():
        table.setdefault(name, []).append((value, runs))
    return table
