"""The plots of a bench: time and memory against a size, doubly logarithmic, with rings where a part overtakes another."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from formers.bench.phases import MEANINGS, TITLES
from formers.bench.record import Bench
from formers.bench.summary import Line, Point, Summary, summarize
from formers.bench.table import cells, columns
from formers.bench.words import ratio_text, time_interval_text
from formers.plot.charts import Chart, Series
from formers.plot.labels import place
from formers.plot.looks import PLAIN, Look, look_of
from formers.plot.number_format import size
from formers.plot.scales import Scale, Tick, scale, unit_for

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 330, 52, 466, 12, 284
_TIMES = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
_BYTES = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))
_RING = "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0z"
_MANY = 7
"""Marks on an axis, at most."""


@dataclass(frozen=True, kw_only=True)
class _FigureLine:
    """One subject in the table: how it is told apart, its name, and the texts of its cells."""

    look: Look
    subject: str
    cells: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One phase: its plots, and a table of the largest size."""

    phase: str
    title: str
    meaning: str
    charts: tuple[Chart, ...]
    columns: tuple[str, ...]
    lines: tuple[_FigureLine, ...]
    axis: str
    size: int


def scaling_figures(bench: Bench) -> tuple[Figure, ...]:
    """A figure for each phase that was measured. For any page that imports `chart.svg.jinja`."""
    return figures(summarize(bench))


def figures(summary: Summary) -> tuple[Figure, ...]:
    """`scaling_figures` of what is summarised already."""
    look = looks(summary)
    return tuple(_figure(summary, phase, look) for phase in summary.lines)


def looks(summary: Summary) -> dict[str, Look]:
    """Subject → how it is told apart, dealt in the order in which the subjects were given."""
    return {name: look_of(index) for index, name in enumerate(summary.subjects())}


def _figure(summary: Summary, phase: str, look: Mapping[str, Look]) -> Figure:
    lines = summary.lines[phase]
    several = len({point.row.size(summary.bench.axis) for line in lines for point in line.points}) > 1
    drawn = [_time_chart(summary, phase, look), _memory_chart(summary, phase, look)] if several else []
    return Figure(
        phase=phase,
        title=TITLES[phase],
        meaning=MEANINGS[phase],
        charts=tuple(chart for chart in drawn if chart is not None),
        columns=columns(summary, phase),
        lines=tuple(
            _FigureLine(look=look.get(line.subject, PLAIN), subject=line.subject, cells=cells(line, summary))
            for line in lines
        ),
        axis=summary.bench.axis,
        size=summary.largest(phase),
    )


def _time_chart(summary: Summary, phase: str, look: Mapping[str, Look]) -> Chart:
    """Time against the size; thin upright lines are the intervals, rings the crossovers with the reference."""
    lines, axis = summary.lines[phase], summary.bench.axis
    unit, unit_name = unit_for([point.time.median for line in lines for point in line.points], _TIMES)
    ends = [end / unit for line in lines for point in line.points for end in (point.time.low, point.time.high)]
    x, y = _size_scale(summary, phase), scale(ends, BOTTOM, TOP, log=True)
    series = [_time_series(line, axis, x, y, unit, look.get(line.subject, PLAIN)) for line in lines]
    rings = [_crossover_ring(summary, line, x, y, unit, look.get(line.subject, PLAIN)) for line in lines]
    return _chart(
        f"time-{phase}",
        f"Time ({unit_name}) against {axis}",
        _size_ticks(summary, phase, x),
        _value_ticks(y),
        (*series, *_labelled([ring for ring in rings if ring is not None])),
        axis,
    )


def _memory_chart(summary: Summary, phase: str, look: Mapping[str, Look]) -> Chart | None:
    """Peak memory against the size; None where nothing took any."""
    axis = summary.bench.axis
    lines = [(line, [point for point in line.points if point.row.peak_bytes]) for line in summary.lines[phase]]
    lines = [(line, points) for line, points in lines if points]
    if not lines:
        return None
    taken = [float(point.row.peak_bytes or 0) for _, points in lines for point in points]
    unit, unit_name = unit_for(taken, _BYTES)
    x, y = _size_scale(summary, phase), scale([value / unit for value in taken], BOTTOM, TOP, log=True)
    series = [_memory_series(line, points, axis, x, y, unit, look.get(line.subject, PLAIN)) for line, points in lines]
    return _chart(
        f"memory-{phase}",
        f"Peak memory ({unit_name}) against {axis}",
        _size_ticks(summary, phase, x),
        _value_ticks(y),
        tuple(series),
        axis,
    )


def _chart(
    name: str, title: str, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], series: tuple[Series, ...], axis: str
) -> Chart:
    return Chart(
        name=name,
        title=title,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        top=TOP,
        bottom=BOTTOM,
        x_label=f"{axis}, both axes logarithmic",
        x_ticks=tuple(x_ticks),
        y_ticks=tuple(y_ticks),
        series=series,
        references=(),
    )


def _time_series(line: Line, axis: str, x: Scale, y: Scale, unit: float, look: Look) -> Series:
    at = [(x(point.row.size(axis)), y(point.time.median / unit)) for point in line.points]
    whiskers = [
        f"M{px:g} {y(point.time.low / unit):g}V{y(point.time.high / unit):g}"
        for (px, _), point in zip(at, line.points, strict=True)
    ]
    tips = [_time_tip(point, axis) for point in line.points]
    return _series_of(line.subject, look, at, tips, whiskers)


def _time_tip(point: Point, axis: str) -> str:
    ratio = f" · {ratio_text(point.ratio)} × the reference" if point.ratio else ""
    return f"{axis} {point.row.size(axis):,} · {time_interval_text(point.time)}{ratio}"


def _memory_series(
    line: Line, points: Sequence[Point], axis: str, x: Scale, y: Scale, unit: float, look: Look
) -> Series:
    at = [(x(point.row.size(axis)), y((point.row.peak_bytes or 0) / unit)) for point in points]
    tips = [f"{axis} {point.row.size(axis):,} · {size(point.row.peak_bytes)}" for point in points]
    return _series_of(line.subject, look, at, tips, [])


def _series_of(
    name: str, look: Look, at: Sequence[tuple[float, float]], tips: Sequence[str], thin: Sequence[str]
) -> Series:
    return Series(
        name=name,
        look=look,
        lines=("M" + "L".join(f"{x:g} {y:g}" for x, y in at), *thin),
        dots=tuple(at[:-1]),
        mark=at[-1],
        places=json.dumps(at),
        tips=json.dumps(tips, ensure_ascii=False),
    )


def _crossover_ring(
    summary: Summary, line: Line, x: Scale, y: Scale, unit: float, look: Look
) -> tuple[str, Series] | None:
    """A ring on the reference's line where a subject crosses it, and the size there; None where it does not."""
    found = line.crossover
    reference = next((one for one in summary.lines[line.phase] if one.subject == summary.bench.reference), None)
    if found is None or found.at is None or reference is None:
        return None
    size_there = found.at.median
    at = (x(size_there), y(_time_at(reference, summary.bench.axis, size_there) / unit))
    told = f"{'faster' if found.faster else 'slower'} than {reference.subject} from {summary.bench.axis} {round(size_there):,}"
    ring = Series(
        name=line.subject,
        look=Look(colour=look.colour, shape=_RING),
        mark=at,
        filled=False,
        places=json.dumps([at]),
        tips=json.dumps([told], ensure_ascii=False),
    )
    return f"{round(size_there):,}", ring


def _labelled(rings: Sequence[tuple[str, Series]]) -> list[Series]:
    """The rings with their sizes beside them, as far as there is room; equal sizes are written once."""
    labels = place([(text, ring.mark) for text, ring in rings], (LEFT, TOP, RIGHT, BOTTOM), [])
    return [replace(ring, label=labels.pop(text, None)) for text, ring in rings]


def _time_at(line: Line, axis: str, size_there: float) -> float:
    """The time of a line at a size between two that were measured, on the doubly logarithmic plot."""
    known = [(point.row.size(axis), point.time.median) for point in line.points]
    for (low, before), (high, after) in itertools.pairwise(known):
        if low <= size_there <= high:
            share = math.log(size_there / low) / math.log(high / low)
            return math.exp(math.log(before) + share * math.log(after / before))
    return known[-1][1]


def _size_scale(summary: Summary, phase: str) -> Scale:
    sizes = _sizes_of(summary, phase)
    return scale([float(value) for value in sizes], LEFT + 10, RIGHT - 10, margin=0.02, log=True)


def _sizes_of(summary: Summary, phase: str) -> list[int]:
    axis = summary.bench.axis
    return sorted({point.row.size(axis) for line in summary.lines[phase] for point in line.points})


def _size_ticks(summary: Summary, phase: str, x: Scale) -> list[Tick]:
    """The sizes that were measured."""
    return _thinned([(x(value), f"{value:,}") for value in _sizes_of(summary, phase)])


def _value_ticks(y: Scale) -> list[Tick]:
    """Round values: 1, 2 and 5 in each decade, or equal steps where the values lie so close that few of these fall there."""
    ticks = y.ticks(5)
    if len(ticks) > 2:
        return _thinned(ticks)
    even = Scale(low=y.low, high=y.high, start=y.low, end=y.high)
    step = [(float(text.replace("−", "-")), text) for _, text in even.ticks(5)]
    return [(y(value), text) for value, text in step]


def _thinned(ticks: Sequence[Tick]) -> list[Tick]:
    """Every tick, or every second, third, … where they are too many; powers of ten first where they are decades' ticks."""
    decades = [tick for tick in ticks if tick[1].strip("0.") == "1"]
    if len(ticks) > _MANY and len(decades) > 2:
        return decades
    step = -(-len(ticks) // _MANY)
    return list(ticks[::step])
