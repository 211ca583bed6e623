"""What `formers adapt` and `formers repair` have measured, as tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from formers.cli.console import table_console
from formers.cli.say import say

if TYPE_CHECKING:
    from formers.adapt.report.repair_page import RepairResults
    from formers.adapt.report.swap_results import SwapResults

_LENGTHS = (1024, 8192, 32768)


def say_swaps(results: SwapResults) -> None:
    """Print quality and cache of the model as it is, and with each mixer in all layers."""
    from formers.plot.fitting_table import FittingColumn, FittingTable
    from formers.plot.number_format import NOTHING, grouped, significant, size

    lengths = () if results.is_score else _LENGTHS
    caches = [FittingColumn(title=f"cache, {length // 1024}k", spare=1) for length in lengths]
    numbers = [FittingColumn(title=title) for title in (results.quality, "ratio")]
    table = FittingTable(columns=[FittingColumn(title="in every layer", text=True), *numbers, *caches])
    for swap in results.everywhere:
        value = results.value(swap)
        shown = (f"{value:.3f}" if results.is_score else grouped(value), significant(results.ratio(swap), 4))
        states = [size(results.states[swap.mixer].get(length)) for length in lengths]
        table.add_row(
            [results.names[swap.mixer], *((swap.failure, NOTHING) if swap.failure else shown), *states],
            "dim" if swap.failure else "",
        )
    table_console().print(table)


def say_speeds(results: SwapResults) -> None:
    """Print the times of prompts and of the tokens after them."""
    from formers.plot.fitting_table import FittingColumn, FittingTable
    from formers.plot.number_format import NOTHING, duration, size

    titles = ("prompt", "reading it", "each token", "cache")
    columns = [FittingColumn(title=title) for title in titles]
    table = FittingTable(
        columns=[
            FittingColumn(title="in every layer", text=True),
            *columns,
            FittingColumn(title="peak memory", spare=1),
        ]
    )
    for row in results.speeds:
        numbers = (duration(row.prefill_seconds), duration(row.token_seconds), size(row.cache_bytes))
        shown = (row.failure, NOTHING, NOTHING) if row.failure else numbers
        table.add_row([results.names[row.mixer], f"{row.length:,}", *shown, size(row.peak_bytes)])
    table_console().print(table)


def say_plan(results: SwapResults) -> None:
    """Print the plan: which layers take which mixer, and what it costs on other text."""
    from formers.plot.number_format import grouped, percent, size

    plan = results.plan
    assert plan is not None
    say(f"\nplan: {size(plan.state_bytes)} a row after {plan.length:,} tokens")
    for mixer in dict.fromkeys(plan.mixers):
        layers = [layer for layer, taken in enumerate(plan.mixers) if taken == mixer]
        say(f"  {mixer}: layers {', '.join(map(str, layers))}")
    if plan.own is None or plan.planned is None:
        say("the text has no tokens left to measure it on; give fewer --tokens")
        return
    say(
        f"perplexity: {percent(plan.expected)} expected from each layer alone; {percent(plan.planned / plan.own - 1)} "
        f"measured on the {plan.tokens:,} tokens before, {grouped(plan.own)} to {grouped(plan.planned)}"
    )


def say_stages(results: RepairResults) -> None:
    """Print a repaired model before and after each stage."""
    from formers.plot.fitting_table import FittingColumn, FittingTable
    from formers.plot.number_format import grouped, significant, size

    states = [FittingColumn(title=f"state, {length // 1024}k", spare=1) for length in results.stages[0].states]
    numbers = [FittingColumn(title=title) for title in ("perplexity", "ratio")]
    table = FittingTable(columns=[FittingColumn(title="the model", text=True), *numbers, *states])
    own = results.stages[0].perplexity
    for stage in results.stages:
        shown = (grouped(stage.perplexity), significant(stage.perplexity / own, 4))
        table.add_row([stage.name, *shown, *(size(held) for held in stage.states.values())])
    table_console().print(table)
