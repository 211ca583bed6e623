"""`formers ablate --dry-run`: the arms of a study and what they will cost, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from formers.cli.console import table_console
from formers.plot.fitting_table import FittingColumn, FittingTable
from formers.plot.number_format import NOTHING, count, duration, size
from formers.plot.visible_text import visible, visible_line

if TYPE_CHECKING:
    from formers.lab.plan.forecast import ArmForecast
    from formers.lab.study.study import Study


def show_forecast(study: Study, jobs: int = 1) -> None:
    """Print a line for each arm as it is measured, then all of them as a table, and how long the study takes here."""
    from formers.lab.plan.forecast import forecast, total_seconds

    console = table_console()
    found = []
    with console.status("counting and timing a few steps of each arm"):
        for it in forecast(study):
            found.append(it)
    console.print(_table(study, found))
    for line in dict.fromkeys(f"“{it.arm}” cannot train: {it.problem}" for it in found if it.problem):
        console.print(Text(visible_line(line)), soft_wrap=True)
    shared = f", {jobs} at a time" if jobs > 1 else ""
    runs, total = sum(it.runs for it in found), duration(total_seconds(found) / jobs)
    counted = "1 run" if runs == 1 else f"{runs} runs"
    told = (
        f"{counted}{shared}: about {total} of training on this machine, as busy as it is now; evaluations and tests "
        "come on top, and what is trained already is not trained again. Nothing was written. The study would be in "
        f"{study.folder}"
    )
    console.print(Text(visible(told)), soft_wrap=True)


def _table(study: Study, found: list[ArmForecast]) -> FittingTable:
    """Return the forecasts as a table that fits its terminal."""
    tried = any(it.tried for it in found)
    table = FittingTable(
        columns=[
            FittingColumn(title="arm", text=True),
            *([FittingColumn(title="to choose", text=True)] if tried else []),
            FittingColumn(title="runs"),
            FittingColumn(title="parameters"),
            FittingColumn(title="FLOPs/token", spare=3),
            FittingColumn(title="state size", spare=4),
            FittingColumn(title="memory", spare=2),
            FittingColumn(title="a step", spare=1),
            FittingColumn(title="training"),
        ],
        title=visible(str(study.task).removesuffix("()")),
        caption=visible(
            f"{_budget_text(study)}; matched between arms: {study.match}. Memory is of weights, gradients, AdamW and "
            "what a step keeps for its backward pass."
        ),
    )
    for it in found:
        table.add_row([visible(cell) for cell in _cells(it, tried)], "dim" if it.problem else "")
    return table


def _budget_text(study: Study) -> str:
    """Return what every arm is given; at equal time, what the first one is."""
    words = study.budget.describe(study.task.length, study.search)
    if study.match != "time" or len(study.arms) == 1:
        return words
    return f"the base is given {words}, the others as many steps as take the same time"


def _cells(it: ArmForecast, tried: bool) -> list[str]:
    return [
        it.arm,
        *([it.tried or "(what is best)"] if tried else []),
        str(it.runs),
        count(it.parameters),
        count(it.flops_per_token),
        size(it.state_bytes) if it.state_bytes is not None else NOTHING,
        size(it.memory_bytes),
        duration(it.step_seconds),
        duration(it.seconds) if it.seconds else NOTHING,
    ]
