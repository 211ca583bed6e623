"""The charts as geometry: what the template draws, in the units of each chart's own coordinates."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from formers.lab.report.costs import STATE, STATE_SIZE, Cost
from formers.lab.report.headline import estimate_text, places
from formers.lab.report.summary import Arm, CurvePoint, Summary
from formers.plot.labels import Label, box_before, boxes_along, place
from formers.plot.looks import PLAIN, SHOWN, Look
from formers.plot.number_format import duration, fixed
from formers.plot.scales import Scale, Tick, scale, unit_for

_POINTS = 120
"Points that one drawn line has at most."
_LONGEST = 24
"Characters of a name that is written beside a mark."


@dataclass(frozen=True, kw_only=True)
class Series:
    """One arm in one chart."""

    name: str
    look: Look
    lines: tuple[str, ...] = ()
    "SVG paths: the mean first, then single seeds."
    dots: tuple[tuple[float, float], ...] = ()
    "Single seeds."
    shapes: tuple[tuple[float, float], ...] = ()
    "Where the arm's shape stands, small, …"
    mark: tuple[float, float]
    "… and where at its full size."
    filled: bool = True
    cut: bool = False
    "Whether the line ends because the run failed."
    arrow: bool = False
    "Whether what it costs grows with the length."
    places: str
    "What can be pointed at, as JSON: [[x, y], …] …"
    tips: str
    "… and what each says: [text, …]."
    label: Label | None = None


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """A dashed line across; beyond the chart only its name with an arrow."""

    y: float
    text: str
    beyond: bool


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart: the frame in pixels, its axes, and what is in it."""

    name: str
    title: str
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    references: tuple[_Reference, ...]
    front: str = ""
    "The path through the arms that are on the Pareto front."
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Strip:
    """One arm's metric on the scale that all lines of the ranking share."""

    mark: float
    beyond: bool
    "Whether the arm is so far behind the others that the scale ends before it."
    low: float
    "Where the interval begins,"
    high: float
    "and where it ends."
    dots: tuple[float, ...]
    "Single seeds."


def trade(summary: Summary, cost: Cost, look: Mapping[str, Look]) -> Chart | str:
    """Quality against `cost`, one mark an arm; a sentence where the arms do not differ in it."""
    arms = [(arm, value) for arm in summary.ranked if (value := arm.costs[cost.name]) or (value == 0 and not cost.log)]
    if len(arms) < 2:
        return ""
    values = [value for _, value in arms]
    if max(values) <= min(values) * 1.005:
        return f"All arms have the same {cost.label}: {cost.text(values[0])}, within half a percent."
    unit, unit_name = unit_for(values, cost.units)
    width, height, left, right, top, bottom = 480, 330, 48, 466, 12, 284
    seen = [value / unit for arm, mean in arms for value in (mean, *(x for x, _ in _runs(arm, cost)))]
    x = scale(seen, left + 6, right - 6, log=cost.log or max(values) > 10 * min(values) > 0)
    y = _quality_scale(summary, bottom, top, margin=0.12, times=4)
    marks = [(arm, (x(value / unit), y.inside(arm.metric.mean))) for arm, value in arms if arm.metric]
    references = _lines_across(summary, y)
    reserved = [box_before(right, line.y - 5, line.text) for line in references]
    reserved += [(left, line.y - 1, right, line.y + 1) for line in references if not line.beyond]
    reserved += [
        (px - 2, py - 2, px + 2, py + 2)
        for arm, _ in arms
        if arm.name in look
        for px, py in _dots(arm, cost, x, y, unit)
    ]
    reserved += [(mx + 5, my - 4, mx + 17, my + 4) for arm, (mx, my) in marks if _grows(arm, cost)]
    front = sorted(
        (arm.costs[cost.name] or 0.0, short_name(arm), mark) for arm, mark in marks if cost.name in arm.fronts
    )
    labels = place(
        [(_label(arm, y), mark) for arm, mark in marks if arm.name in look],
        frame=(left, top, right, bottom),
        reserved=reserved,
        avoided=boxes_along([mark for _, _, mark in front]),
    )
    series = tuple(
        _point(summary, arm, mark, cost, look, x, y, unit, labels.get(_label(arm, y)) if arm.name in look else None)
        for arm, mark in marks
    )
    note = f"On the front: {_listed([name for _, name, _ in front])}." if front else ""
    far = [short_name(arm) for arm, _ in marks if arm.metric and _beyond(arm.metric.mean, y)]
    return Chart(
        name=cost.name,
        title=f"Test {summary.metric.label} against {cost.label}",
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_label=cost.label + (f" ({unit_name})" if unit_name else "") + (", logarithmic" if x.log else ""),
        x_ticks=tuple(x.ticks(5)),
        y_ticks=tuple(y.ticks(5)),
        series=series,
        references=references,
        front=path_through([mark for _, _, mark in front]) if len(front) > 1 else "",
        note=" ".join(
            filter(None, [note, f"Beyond the frame: {_listed(far)}." if far else "", *_left_out(summary, cost)])
        ),
    )


def _grows(arm: Arm, cost: Cost) -> bool:
    """Whether this cost of an arm grows with the length: told apart for the state of a stream."""
    return cost is STATE_SIZE and bool(arm.costs[STATE.name])


def _left_out(summary: Summary, cost: Cost) -> list[str]:
    """What the chart of the streaming state needs to be understood."""
    if cost is not STATE_SIZE:
        return []
    none = [short_name(arm) for arm in summary.ranked if arm.costs[cost.name] is None]
    empty = [short_name(arm) for arm in summary.ranked if arm.costs[cost.name] == 0]
    return [
        *(
            ["An arrow marks a state that grows with the length."]
            if any(_grows(a, cost) for a in summary.ranked)
            else []
        ),
        *([f"Not streaming, so left out: {_listed(none)}."] if none else []),
        *([f"Without any state: {_listed(empty)}."] if empty else []),
    ]


def learning(summary: Summary, look: Mapping[str, Look], by: str) -> Chart | None:
    """The learning curves of the arms in `look`, against `by`: `step` or `seconds`."""
    arms = [arm for arm in summary.arms if arm.name in look and len(arm.curve) > 1]
    if not arms:
        return None
    width, height, left, right, top, bottom = 640, 400, 50, 628, 12, 346
    across = [_across(point, by) for arm in arms for point in arm.curve]
    unit, unit_name = unit_for(across, ((1.0, "s"), (60.0, "min"), (3600.0, "h"))) if by == "seconds" else (1.0, "")
    x = Scale(low=0, high=max(across) / unit * 1.02 or 1.0, start=left, end=right)
    y = _curve_scale(summary, arms, bottom, top)
    return Chart(
        name=by,
        title=f"Validation {summary.metric.label} against {'training time' if by == 'seconds' else 'steps'}",
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_label=f"training time ({unit_name})" if by == "seconds" else "steps",
        x_ticks=tuple(x.ticks(6)),
        y_ticks=tuple(y.ticks(6)),
        series=tuple(_line(summary, arm, look[arm.name], by, x, y, unit) for arm in arms),
        references=_lines_across(summary, y),
    )


def strips(summary: Summary, width: float) -> dict[str, _Strip]:
    """The small pictures in the ranking, on one scale of `width` pixels."""
    if not summary.ranked:
        return {}
    x = _quality_scale(summary, 0, width)
    drawn = {}
    for arm in summary.ranked:
        assert arm.metric
        mean, half = arm.metric.mean, arm.metric.half_width or 0.0
        dots = tuple(x(value) for value in arm.values.values() if x.low <= value <= x.high)
        drawn[arm.name] = _Strip(
            mark=x.inside(mean),
            beyond=not x.low <= mean <= x.high,
            low=x.inside(mean - half),
            high=x.inside(mean + half),
            dots=dots if len(arm.values) > 1 else (),
        )
    return drawn


def strip_references(summary: Summary, width: float) -> dict[str, float]:
    """Where the references stand in these pictures, for those within their scale."""
    if not summary.ranked:
        return {}
    x = _quality_scale(summary, 0, width)
    return {name: x(value) for name, value in summary.results.references.items() if x.low <= value <= x.high}


def _quality_scale(summary: Summary, start: float, end: float, margin: float = 0.06, times: float = 3) -> Scale:
    """From the best arm to so many times as far as the median arm is behind it, so that one bad arm hides nothing."""
    means = [arm.metric.mean for arm in summary.ranked if arm.metric]
    reach = times * abs(median(means) - means[0]) or math.inf
    shown = [arm for arm, mean in zip(summary.ranked, means, strict=True) if abs(mean - means[0]) <= reach]
    values = [value for arm in shown for value in arm.values.values()]
    near = [value for value in summary.results.references.values() if abs(value - means[0]) <= reach]
    return scale([*values, *(near if math.isfinite(reach) else [])], start, end, margin)


def _beyond(value: float, y: Scale) -> str:
    """An arrow after the name of what lies outside the frame."""
    return " ↑" if value > y.high else " ↓" if value < y.low else ""


def _curve_scale(summary: Summary, arms: Sequence[Arm], start: float, end: float) -> Scale:
    """Leaves out the first tenth of training, which would flatten the rest."""
    last = max(point.step for arm in arms for point in arm.curve)
    late = [point.value for arm in arms for point in arm.curve if point.step >= 0.1 * last]
    low, high = min(late), max(late)
    near = [value for value in summary.results.references.values() if low - (high - low) <= value <= high]
    return scale(late + near, start, end, margin=0.04)


def _lines_across(summary: Summary, y: Scale) -> tuple[_Reference, ...]:
    lines = []
    for name, value in summary.results.references.items():
        if not math.isfinite(value):
            continue
        arrow = _beyond(value, y)
        text = f"{name} {fixed(value, places(summary))}{arrow}"
        lines.append(_Reference(y=y.inside(value), text=text, beyond=bool(arrow)))
    return tuple(lines)


def _runs(arm: Arm, cost: Cost) -> list[tuple[float, float]]:
    """(cost, metric) of single runs, where there are several."""
    if len(arm.values) < 2:
        return []
    found = [(getattr(row, cost.name), arm.values[row.seed]) for row in arm.rows if row.seed in arm.values]
    return [(value, metric) for value, metric in found if value and math.isfinite(value)]


def _dots(arm: Arm, cost: Cost, x: Scale, y: Scale, unit: float) -> tuple[tuple[float, float], ...]:
    return tuple((x(value / unit), y(metric)) for value, metric in _runs(arm, cost) if not _beyond(metric, y))


def _point(
    summary: Summary,
    arm: Arm,
    mark: tuple[float, float],
    cost: Cost,
    look: Mapping[str, Look],
    x: Scale,
    y: Scale,
    unit: float,
    label: Label | None,
) -> Series:
    on_front = cost.name in arm.fronts
    tip = f"{estimate_text(arm.metric, places(summary))} · {cost.text(arm.costs[cost.name])}"
    return Series(
        name=arm.name,
        look=look.get(arm.name, PLAIN),
        dots=_dots(arm, cost, x, y, unit) if arm.name in look else (),
        mark=mark,
        filled=on_front,
        arrow=_grows(arm, cost),
        places=json.dumps([mark]),
        tips=json.dumps([tip + (" · on the front" if on_front else "")], ensure_ascii=False),
        label=label,
    )


def _line(summary: Summary, arm: Arm, look: Look, by: str, x: Scale, y: Scale, unit: float) -> Series:
    def drawn(curve: Sequence[CurvePoint]) -> list[tuple[float, float]]:
        return [(x(_across(point, by) / unit), y(point.value)) for point in _thinned(curve)]

    mean = drawn(arm.curve)
    digits = places(summary)
    tips = [f"step {p.step} · {duration(p.seconds)} · {fixed(p.value, digits)}" for p in _thinned(arm.curve)]
    return Series(
        name=arm.name,
        look=look,
        lines=tuple(path_through(line) for line in (mean, *(drawn(curve) for curve in arm.seed_curves))),
        mark=mean[-1],
        cut=arm.rank is None,
        places=json.dumps(mean),
        tips=json.dumps(tips, ensure_ascii=False),
    )


def _across(point: CurvePoint, by: str) -> float:
    return point.seconds if by == "seconds" else point.step


def _thinned(curve: Sequence[CurvePoint]) -> Sequence[CurvePoint]:
    if len(curve) <= _POINTS:
        return curve
    last = len(curve) - 1
    return [curve[round(index * last / (_POINTS - 1))] for index in range(_POINTS)]


def short_name(arm: Arm) -> str:
    """The name if it fits beside a mark, else `#3`, the rank."""
    return arm.name if len(arm.name) <= _LONGEST else f"#{arm.rank}"


def _label(arm: Arm, y: Scale) -> str:
    return short_name(arm) + (_beyond(arm.metric.mean, y) if arm.metric else "")


def _listed(names: Sequence[str]) -> str:
    """As many names as one reads; quoted as in the headline, since they may hold commas."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"“{name}”" for name in names[:SHOWN]) + more


def path_through(points: Sequence[tuple[float, float]]) -> str:
    """An SVG path."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
