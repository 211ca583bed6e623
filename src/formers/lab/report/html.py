"""The report as one HTML file that opens offline, with its charts drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from formers.lab.report import costs, lengths, matching, page_tables, sampled_search, search
from formers.lab.report.arm_looks import arm_looks
from formers.lab.report.arm_sentences import arm_sentences
from formers.lab.report.charts.front import front_chart
from formers.lab.report.charts.learning import learning_chart
from formers.lab.report.charts.lengths import lengths_chart
from formers.lab.report.charts.multiples import small_multiples
from formers.lab.report.charts.names import short_name
from formers.lab.report.charts.search import search_charts
from formers.lab.report.charts.slices import slices_chart
from formers.lab.report.charts.strips import metric_strips
from formers.lab.report.charts.trade_off import trade_off_chart
from formers.lab.report.csv_text import csv_of
from formers.lab.report.estimate_text import estimate_text
from formers.lab.report.filters import ranking_filters
from formers.lab.report.headline import headline, over_items, over_seeds
from formers.lab.report.ranking import ranking
from formers.lab.report.slices import all_slices
from formers.lab.report.summarize import summarize
from formers.lab.report.summary import StudySummary
from formers.lab.store.records import Results
from formers.machine.files import write_atomically
from formers.plot.chart import Chart
from formers.plot.page import csv_download, render_page

if TYPE_CHECKING:
    from formers.bench.charts.figures import ScalingFigure


def write_html(
    results: Results, path: Path, scaling: Sequence[ScalingFigure] = (), *, reload_seconds: int | None = None
) -> Path:
    """Write the report of `results` to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, render_html(results, scaling, reload_seconds=reload_seconds))


def render_html(results: Results, scaling: Sequence[ScalingFigure] = (), *, reload_seconds: int | None = None) -> str:
    """Return the report of `results` as one page that makes no request; the same results give the same page.

    Args:
        scaling: what `formers.bench.charts.figures.scaling_figures` draws of a benchmark of the same parts.
        reload_seconds: the browser reads the file again so often, as while a study still runs; never without it.
    """
    summary = summarize(results)
    contents = {
        "title": results.title,
        "reload_seconds": reload_seconds,
        "results": results,
        "summary": summary,
        "scaling_figures": scaling,
        **_sentences(summary),
        **_tables(summary),
        **_charts(summary),
        **_lengths(summary),
        **_search(summary),
    }
    filters = {"estimate": estimate_text}
    return render_page("lab/report/report.html.jinja", contents, filters)


def _sentences(summary: StudySummary) -> dict[str, object]:
    """Return the sentences of the page, and what decides which of its own sentences it shows."""
    return {
        "headline": headline(summary),
        "arm_sentences": arm_sentences(summary),
        "budget_label": matching.budget_label(summary),
        "budget_sentence": matching.budget_sentence(summary),
        "matched_sentence": matching.matched_sentence(summary),
        "unmatched_sentence": matching.unmatched_sentence(summary),
        "details_note": page_tables.details_sentence(summary),
        "memory_note": page_tables.memory_sentence(summary),
        "contention": page_tables.contention_sentence(summary),
        "over_seeds": any(arm.metric and arm.metric.half_width is not None for arm in summary.ranked),
        "over_items": over_items(summary),
        "differences_over_seeds": over_seeds(summary),
        "numbered": any(short_name(arm) != arm.name for arm in summary.ranked),
        "many_seeds": any(len(arm.values) > 1 for arm in summary.arms),
    }


def _tables(summary: StudySummary) -> dict[str, object]:
    """Return the tables of the page."""
    rows = summary.results.rows
    return {
        "ranking": ranking(summary),
        "curve_table": page_tables.curve_table(summary),
        "choices": page_tables.differing_choices(summary),
        "failures": page_tables.failures(summary),
        "environment": page_tables.environments(summary),
        "metric_names": list(dict.fromkeys(name for row in rows for name in row.metrics)),
        "filters": ranking_filters(summary),
        "budget_costs": [*costs.MATCHABLE.values(), costs.MEMORY, costs.STATE_SIZE],
        "matched_cost": costs.MATCHABLE.get(summary.results.matched),
        "unequal": matching.unequal,
        "time": costs.TIME,
        "csv_link": csv_download(csv_of(summary)),
    }


def _charts(summary: StudySummary) -> dict[str, object]:
    """Return the charts of the page, and samples and pictures, which are shown for the same arms."""
    looks = arm_looks(summary)
    trade_offs = [trade_off_chart(summary, cost, looks) for cost in _traded_costs(summary)]
    slices = [(it, slices_chart(summary, it, f"slices-{i}", looks)) for i, it in enumerate(all_slices(summary))]
    curves = [learning_chart(summary, looks, by) for by in ("step", "seconds")]
    return {
        "looks": looks,
        "strips": metric_strips(summary),
        "trade_offs": [found for found in trade_offs if isinstance(found, Chart)],
        "same_costs": [found for found in trade_offs if isinstance(found, str) and found],
        "slices": slices,
        "curves": [chart for chart in curves if chart],
        "multiples": small_multiples(summary, looks),
        "samples": page_tables.samples(summary, looks),
        "pictures": page_tables.pictures(summary, looks),
    }


def _traded_costs(summary: StudySummary) -> list[costs.Cost]:
    """Return the costs that quality is drawn against: first that of a larger search, or the one the metric names."""
    first = next(iter(summary.results.under), summary.metric.against)
    return sorted(costs.TRADED_COSTS, key=lambda cost: cost.name != first)


def _search(summary: StudySummary) -> dict[str, object]:
    """Return the search of a study: sentences, charts, and what each arm tried."""
    return {
        "search_sentences": search.search_sentences(summary),
        "search_charts": search_charts(summary, arm_looks(summary)),
        "search_trials": search.trials(summary),
        "option_label": search.option_label,
        "front_sentences": sampled_search.sampled_sentences(summary),
        "front_chart": front_chart(summary, arm_looks(summary)),
        "front_trials": sampled_search.sampled_trials(summary),
        "front_cost": sampled_search.front_cost(summary),
        "options_text": sampled_search.options_text,
    }


def _lengths(summary: StudySummary) -> dict[str, object]:
    """Return the results at other lengths: their table and chart; nothing where there are none."""
    if (table := lengths.length_table(summary)) is None:
        return {"lengths": None}
    return {
        "lengths": table,
        "lengths_chart": lengths_chart(summary, table, arm_looks(summary)),
        "lengths_titles": lengths.length_titles(table),
        "lengths_cells": {arm: lengths.length_cells(table, arm, summary.digits) for arm in table.values},
        "lengths_note": lengths.lengths_note(summary),
        "refusals": [lengths.refusal_text(refusal) for refusal in table.refusals],
    }
