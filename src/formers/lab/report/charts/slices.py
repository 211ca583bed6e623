"""Quality on the parts of the test split, one line an arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from formers.lab.report.confidence_interval import Estimate
from formers.lab.report.estimate_text import estimate_text
from formers.lab.report.slices import Slices
from formers.lab.report.summary import StudySummary
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import Frame, svg_path
from formers.plot.looks import Look
from formers.plot.scales import Scale, Tick, scale

_FRAME = Frame(width=480, height=330, left=48, right=466, top=12, bottom=284)
_LETTER = 9.5
"Width of a letter on the axis, at the larger size which a phone gets."
_MAX_LABEL = 12
"Characters of a label on the axis."


def slices_chart(summary: StudySummary, slices: Slices, name: str, looks: Mapping[str, Look]) -> Chart | None:
    """Return the chart of one way of dividing, for the arms in `looks`; None with a single label, or without values."""
    shown = {arm: values for arm, values in slices.values.items() if arm in looks}
    means = [point.mean for values in shown.values() for point in values if point]
    if len(slices.labels) < 2 or not means:
        return None
    x = Scale(low=-0.3, high=len(slices.labels) - 0.7, start=_FRAME.left, end=_FRAME.right)
    y = scale(means, _FRAME.bottom, _FRAME.top)

    def series(arm: str, values: Sequence[Estimate | None]) -> Series:
        known = [(index, point) for index, point in enumerate(values) if point]
        at = tuple((x(index), y(point.mean)) for index, point in known)
        texts = tuple(f"{slices.labels[i]} · {estimate_text(point, summary.digits)}" for i, point in known)
        return Series(
            name=arm,
            look=looks[arm],
            lines=(svg_path(at),),
            shapes=at[:-1],
            mark=at[-1],
            hover=Hover(points=at, texts=texts),
        )

    return Chart(
        name=name,
        title=f"Test {summary.metric.label} by {slices.title}",
        frame=_FRAME,
        x_label=slices.title,
        x_ticks=_ticks(slices.labels, x),
        y_ticks=tuple(y.ticks(5)),
        series=tuple(series(arm, values) for arm, values in shown.items()),
    )


def _ticks(labels: Sequence[str], x: Scale) -> tuple[Tick, ...]:
    """Return every label, shortened, or every second, third, … where they are too many to be read."""
    texts = [label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…" for label in labels]
    free = (_FRAME.right - _FRAME.left) / len(labels)
    step = math.ceil(_LETTER * (max(map(len, texts)) + 1) / free)
    return tuple((x(index), text) for index, text in enumerate(texts) if index % step == 0)
