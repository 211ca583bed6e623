"""The page of `formers repair`: one HTML file that opens offline, drawn from the results alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from formers.adapt.repair_run import RepairStage, stage_of
from formers.machine.files import write_atomically
from formers.plot.chart import Chart, Hover, Series
from formers.plot.csv_file import csv_text
from formers.plot.geometry import Frame, svg_path
from formers.plot.looks import assign_looks
from formers.plot.number_format import NOTHING, duration, fixed, grouped, significant, size
from formers.plot.page import csv_download, render_page
from formers.plot.scales import scale

_FRAME = Frame(width=480, height=300, left=52, right=466, top=12, bottom=254)


@dataclass(frozen=True, kw_only=True)
class RepairResults:
    """A repair, and what it depends on.

    Attributes:
        model: its name or folder.
        text: the text's name or file.
        rows, held_out, row: rows to learn from, rows held out, and tokens in each.
        mixers: the mixer of each layer, as text.
        stages: the model before, after the swap, and after each stage.
        settings: name → value, of the training.
        environment, command, date: as in a benchmark.
    """

    model: str
    text: str
    rows: int
    held_out: int
    row: int
    mixers: tuple[str, ...]
    stages: tuple[RepairStage, ...]
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    command: str = ""
    date: str = ""

    @property
    def layers_of(self) -> dict[str, str]:
        """Mixer → its layers, in words."""
        return {
            mixer: ", ".join(str(layer) for layer, taken in enumerate(self.mixers) if taken == mixer)
            for mixer in dict.fromkeys(self.mixers)
        }


def write_repair_results(results: RepairResults, folder: Path) -> Path:
    """Write `repair.json` and the page into a folder, and return the path of the page."""
    write_atomically(folder / "repair.json", json.dumps(asdict(results), indent=1))
    return write_atomically(folder / "repair.html", render_repair_page(results))


def read_repair_results(path: Path) -> RepairResults:
    """Return the results in a `repair.json`. Raise ValueError for a file that is something else."""
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        stages = tuple(stage_of(line) for line in tree.pop("stages"))
        return RepairResults(**tree | {"mixers": tuple(tree["mixers"])}, stages=stages)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} holds no results of formers repair: {error}") from error


def render_repair_page(results: RepairResults) -> str:
    """Return one page that makes no request; the same results give the same page."""
    lengths = list(results.stages[0].states)
    contents = {
        "title": f"Repair of {results.model}",
        "results": results,
        "headline": _headline(results),
        "looks": assign_looks(stage.name for stage in results.stages),
        "lengths": lengths,
        "stages": [_stage(stage, results.stages[0], lengths) for stage in results.stages],
        "speeds": _speeds(results.stages),
        "charts": [chart for stage in results.stages if (chart := _learning_chart(stage, results))],
        "csv_link": csv_download(_csv(results)),
    }
    return render_page("adapt/report/repair.html.jinja", contents)


def _headline(results: RepairResults) -> list[str]:
    """Return the sentences at the top: perplexity before and after, and the smaller state."""
    first, last = results.stages[0], results.stages[-1]
    sentences = [
        f"{last.name[:1].upper()}{last.name[1:]}: perplexity {grouped(last.perplexity)}, "
        f"{significant(last.perplexity / first.perplexity, 4)} times that of the model as it was."
    ]
    for length, before in first.states.items():
        after = last.states.get(length)
        if length == 8192 and before and after:
            sentences.append(
                f"After {length:,} tokens a row's state is {size(after)} instead of {size(before)}, "
                f"{significant(before / after)} times smaller."
            )
    return sentences


def _stage(stage: RepairStage, first: RepairStage, lengths: Sequence[int]) -> tuple[str, ...]:
    ratio = "1" if stage is first else significant(stage.perplexity / first.perplexity, 4)
    states = (size(stage.states[length]) for length in lengths)
    time = duration(stage.seconds) if stage.seconds else NOTHING
    return (stage.name, grouped(stage.perplexity), ratio, *states, time)


def _speeds(stages: Sequence[RepairStage]) -> list[tuple[str, ...]]:
    """Return the rows of the table of times, each with its ratio to the model as it was."""
    own = {speed.length: speed for speed in stages[0].speeds}
    rows = []
    for speed in sorted((speed for stage in stages for speed in stage.speeds), key=lambda speed: speed.length):
        cells = [speed.mixer, f"{speed.length:,}"]
        for name, text in (("prefill_seconds", duration), ("token_seconds", duration), ("cache_bytes", size)):
            value, before = getattr(speed, name), getattr(own.get(speed.length), name, None)
            cells += [text(value), f"{fixed(before / value, 2)} ×" if value and before else NOTHING]
        rows.append((*cells, speed.failure or size(speed.peak_bytes)))
    return rows


def _learning_chart(stage: RepairStage, results: RepairResults) -> Chart | None:
    """Return the losses of a stage along its steps; None for one without."""
    if len(stage.losses) < 2:
        return None
    places = range(1, len(stage.losses) + 1)
    x = scale([float(place) for place in places], _FRAME.left + 8, _FRAME.right - 8)
    y = scale(stage.losses, _FRAME.bottom, _FRAME.top)
    at = tuple((x(place), y(loss)) for place, loss in zip(places, stage.losses, strict=True))
    shares = (100 * place // len(stage.losses) for place in places)
    texts = tuple(
        f"{share} % of the steps · {significant(loss)}" for share, loss in zip(shares, stage.losses, strict=True)
    )
    look = assign_looks(one.name for one in results.stages)[stage.name]
    hover = Hover(points=at, texts=texts)
    series = Series(name=stage.name, look=look, lines=(svg_path(at),), dots=at[:-1], mark=at[-1], hover=hover)
    return Chart(
        name=stage.name.replace(" ", "-"),
        title=f"Loss, {stage.name}",
        frame=_FRAME,
        x_label="steps",
        x_ticks=((at[0][0], "first"), (at[-1][0], "last")),
        y_ticks=tuple(y.ticks(5)),
        series=(series,),
    )


def _csv(results: RepairResults) -> str:
    """Return every stored number."""
    header = ("stage", "what", "length", "value")
    rows: list[tuple[object, ...]] = []
    for stage in results.stages:
        rows += [(stage.name, "nats", results.row, stage.nats), (stage.name, "seconds", None, stage.seconds)]
        rows += [(stage.name, "state_bytes", length, found) for length, found in stage.states.items()]
        rows += [(stage.name, "loss", place, loss) for place, loss in enumerate(stage.losses)]
        for speed in stage.speeds:
            for what in ("prefill_seconds", "token_seconds", "cache_bytes", "peak_bytes"):
                rows.append((stage.name, what, speed.length, getattr(speed, what)))
    return csv_text(header, rows)
