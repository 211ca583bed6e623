"""The page of `formers adapt`: one HTML file that opens offline, drawn from the results alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from formers.adapt.report.cost_chart import BYTES, SECONDS, Costs, cost_chart
from formers.adapt.report.heat_map import heat_map
from formers.adapt.report.swap_results import OWN, PlanResult, SwapResults
from formers.adapt.swap_costs import Swap
from formers.adapt.swap_speed import SwapSpeed
from formers.machine.files import write_atomically
from formers.plot.csv_file import csv_text
from formers.plot.looks import assign_looks
from formers.plot.number_format import NOTHING, duration, fixed, grouped, percent, significant, size
from formers.plot.page import csv_download, render_page


def write_swap_page(results: SwapResults, path: Path) -> Path:
    """Write the page to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, render_swap_page(results))


def render_swap_page(results: SwapResults) -> str:
    """Return one page that makes no request; the same results give the same page."""
    names = results.names | {"": OWN}
    looks = assign_looks(names[swap.mixer] for swap in results.everywhere)
    lengths = sorted({length for states in results.states.values() for length in states})
    charts = [
        cost_chart("cache", "Cache of one row, counted", _states(results, names), looks, BYTES, size),
        cost_chart(
            "prefill", "Reading the prompt", _times(results, names, "prefill_seconds"), looks, SECONDS, duration
        ),
        cost_chart("token", "Each token after it", _times(results, names, "token_seconds"), looks, SECONDS, duration),
        cost_chart("memory", "Peak memory", _times(results, names, "peak_bytes"), looks, BYTES, size),
    ]
    contents = {
        "title": f"What a swap costs: {results.model}",
        "results": results,
        "headline": list(_headline(results)),
        "looks": looks,
        "lengths": lengths,
        "qualities": [_quality(results, swap, lengths) for swap in results.everywhere],
        "speeds": [_speed(row, results, names) for row in results.speeds],
        "charts": [chart for chart in charts if chart],
        "map": heat_map(results.alone, results.own, names, "" if results.is_score else "nats a token"),
        "plan": results.plan and _plan_groups(results.plan, names),
        "csv_link": csv_download(_csv(results)),
    }
    return render_page("adapt/report/swaps.html.jinja", contents, {"size": size})


def _headline(results: SwapResults) -> Iterable[str]:
    """Return the sentences at the top: the mixer that keeps most, and the plan."""
    swapped = [swap for swap in results.everywhere if swap.mixer and not swap.failure]
    if swapped:
        best = min(swapped, key=lambda swap: swap.nats)
        yield (
            f"{results.names[best.mixer]} in every layer keeps most: {results.quality} {_value(results, best)} "
            f"instead of {_value(results, results.own)}, without any training."
        )
    plan = results.plan
    if plan and plan.own and plan.planned:
        yield (
            f"The plan for {plan.budget} holds {size(plan.state_bytes)} a row after {plan.length:,} tokens; perplexity "
            f"{percent(plan.planned / plan.own - 1)} on other text."
        )


def _quality(results: SwapResults, swap: Swap, lengths: Iterable[int]) -> tuple[str, ...]:
    """Return a row of the first table."""
    name = OWN if not swap.mixer else results.names[swap.mixer]
    states = results.states.get(swap.mixer, {})
    caches = (size(states.get(length)) for length in lengths)
    if swap.failure:
        return (name, swap.failure, NOTHING, *caches)
    ratio = "1" if not swap.mixer else significant(results.ratio(swap), 4)
    return (name, _value(results, swap), ratio, *caches)


def _value(results: SwapResults, swap: Swap) -> str:
    """Return a perplexity, or a score, as text."""
    return fixed(results.value(swap), 3) if results.is_score else grouped(swap.perplexity)


def _speed(row: SwapSpeed, results: SwapResults, names: dict[str, str]) -> tuple[str, ...]:
    """Return a row of the table of times: each with its ratio to the model as it is."""
    own = next((one for one in results.speeds if not one.mixer and one.length == row.length), None)
    cells = [names.get(row.mixer, row.mixer), f"{row.length:,}"]
    if row.failure:
        return (*cells, row.failure, *[NOTHING] * 6)
    for name, text in (("prefill_seconds", duration), ("token_seconds", duration), ("cache_bytes", size)):
        value, theirs = getattr(row, name), getattr(own, name, None)
        cells += [text(value), f"{fixed(theirs / value, 2)} ×" if value and theirs else NOTHING]
    return (*cells, size(row.peak_bytes))


def _plan_groups(plan: PlanResult, names: dict[str, str]) -> list[tuple[str, str]]:
    """Return the mixers of a plan, each with its layers."""
    groups = []
    for mixer in dict.fromkeys(plan.mixers):
        layers = [str(layer) for layer, taken in enumerate(plan.mixers) if taken == mixer]
        groups.append((names.get(mixer, mixer), ", ".join(layers)))
    return groups


def _states(results: SwapResults, names: dict[str, str]) -> Costs:
    return {
        names[mixer]: [(length, float(found)) for length, found in sorted(states.items()) if found]
        for mixer, states in results.states.items()
    }


def _times(results: SwapResults, names: dict[str, str], what: str) -> Costs:
    measured = sorted((row for row in results.speeds if getattr(row, what)), key=lambda row: row.length)
    return {
        names[mixer]: [(row.length, float(getattr(row, what))) for row in measured if row.mixer == mixer]
        for mixer in dict.fromkeys(row.mixer for row in results.speeds)
    }


def _csv(results: SwapResults) -> str:
    """Return every stored number: a line for each swap, each counted cache, and each measured time."""
    header = ("what", "mixer", "layers", "length", "value", "failure")
    rows: list[tuple[object, ...]] = []
    loss = "loss" if results.is_score else "nats"
    for swap in results.swaps:
        nats = None if swap.failure else swap.nats
        rows.append((loss, swap.mixer, " ".join(map(str, swap.layers)), results.row, nats, swap.failure))
    for mixer, states in results.states.items():
        rows += [("state_bytes", mixer, "all", length, found, "") for length, found in states.items()]
    for row in results.speeds:
        for what in ("prefill_seconds", "token_seconds", "cache_bytes", "peak_bytes"):
            rows.append((what, row.mixer, "all", row.length, getattr(row, what), row.failure))
    return csv_text(header, rows)
