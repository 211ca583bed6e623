"""Quality on the parts of the test split that a task tells apart: a table and a chart for each way of dividing it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from formers.lab.report.confidence_interval import Estimate, estimate
from formers.lab.report.headline import estimate_text, places
from formers.lab.report.summary import Arm, Summary
from formers.plot.charts import Chart, Series, path_through
from formers.plot.looks import Look
from formers.plot.scales import Scale, Tick, scale

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 330, 48, 466, 12, 284
_LETTER = 9.5
"Width of a letter on the axis, at the larger size which a phone gets."


@dataclass(frozen=True, kw_only=True)
class Slices:
    """One way of dividing the test split: arm → its metric at each of `labels`, over seeds, None where it has none."""

    title: str
    labels: tuple[str, ...]
    lines: Mapping[str, tuple[Estimate | None, ...]]
    digits: int
    chart: Chart | None
    "The same as lines; None where there is one label."


def slices(summary: Summary, look: Mapping[str, Look]) -> list[Slices]:
    """Every way of dividing that some run has, labels in the order of the fullest run; charts hold the arms in `look`."""
    titles = dict.fromkeys(title for arm in summary.ranked for row in arm.rows for title in row.slices)
    return [_slices(summary, title, index, look) for index, title in enumerate(titles)]


def _slices(summary: Summary, title: str, index: int, look: Mapping[str, Look]) -> Slices:
    parts = sorted((row.slices.get(title, {}) for arm in summary.ranked for row in arm.rows), key=len, reverse=True)
    labels = tuple(dict.fromkeys(label for part in parts for label in part))
    lines = {arm.name: tuple(_estimate(arm, title, label) for label in labels) for arm in summary.ranked}
    lines = {name: line for name, line in lines.items() if any(line)}
    digits = places(summary)
    chart = _chart(summary, title, f"slices-{index}", labels, lines, look) if len(labels) > 1 else None
    return Slices(title=title, labels=labels, lines=lines, digits=digits, chart=chart)


def _estimate(arm: Arm, title: str, label: str) -> Estimate | None:
    found = [row.slices.get(title, {}).get(label, math.nan) for row in arm.rows if row.seed in arm.values]
    found = [value for value in found if math.isfinite(value)]
    return estimate(found) if found else None


def _chart(
    summary: Summary,
    title: str,
    name: str,
    labels: Sequence[str],
    lines: Mapping[str, Sequence[Estimate | None]],
    look: Mapping[str, Look],
) -> Chart | None:
    shown = {arm: line for arm, line in lines.items() if arm in look}
    values = [point.mean for line in shown.values() for point in line if point]
    if not values:
        return None
    x = Scale(low=-0.3, high=len(labels) - 0.7, start=_LEFT, end=_RIGHT)
    y = scale(values, _BOTTOM, _TOP)
    return Chart(
        name=name,
        title=f"Test {summary.metric.label} by {title}",
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        x_label=title,
        x_ticks=_ticks(labels, x),
        y_ticks=tuple(y.ticks(5)),
        series=tuple(_series(arm, line, labels, look[arm], x, y, places(summary)) for arm, line in shown.items()),
        references=(),
    )


def _ticks(labels: Sequence[str], x: Scale) -> tuple[Tick, ...]:
    """Every label, shortened, or every second, third, … where they are too many to be read."""
    texts = [label if len(label) <= 12 else f"{label[:11]}…" for label in labels]
    room = (_RIGHT - _LEFT) / len(labels)
    step = math.ceil(_LETTER * (max(map(len, texts)) + 1) / room)
    return tuple((x(index), text) for index, text in enumerate(texts) if index % step == 0)


def _series(
    arm: str, line: Sequence[Estimate | None], labels: Sequence[str], look: Look, x: Scale, y: Scale, digits: int
) -> Series:
    known = [(index, point) for index, point in enumerate(line) if point]
    at = [(x(index), y(point.mean)) for index, point in known]
    return Series(
        name=arm,
        look=look,
        lines=(path_through(at),),
        shapes=tuple(at[:-1]),
        mark=at[-1],
        places=json.dumps(at),
        tips=json.dumps([f"{labels[i]} · {estimate_text(point, digits)}" for i, point in known], ensure_ascii=False),
    )
