"""Quality on validation against a searched option, such as the learning rate: a line for each arm."""

from __future__ import annotations

from collections.abc import Mapping

from formers.lab.report.search import Trial, best_by_value, numeric_options, option_label, trials
from formers.lab.report.summary import StudySummary
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import Frame, svg_path
from formers.plot.looks import Look
from formers.plot.number_format import fixed
from formers.plot.scales import Scale, scale

_FRAME = Frame(width=640, height=400, left=50, right=624, top=12, bottom=346)
_LETTER = 8.5


def search_charts(summary: StudySummary, looks: Mapping[str, Look]) -> list[Chart]:
    """Return a chart for each option with numbers: the best validation metric at each value, over the other options.

    The mark is at the value that the arm took.
    """
    found = trials(summary)
    charts = [_chart(summary, name, found, looks) for name in numeric_options(summary)]
    return [chart for chart in charts if chart]


def _chart(
    summary: StudySummary, name: str, found: Mapping[str, tuple[Trial, ...]], looks: Mapping[str, Look]
) -> Chart | None:
    lower = summary.metric.lower_is_better
    curves = {arm: best_by_value(tried, name, lower) for arm, tried in found.items() if arm in looks}
    curves = {arm: curve for arm, curve in curves.items() if len(curve) > 1}
    if not curves:
        return None
    numbers = sorted({value for curve in curves.values() for value in curve})
    is_log = numbers[0] > 0 and numbers[-1] / numbers[0] > 3
    x = scale(numbers, _FRAME.left, _FRAME.right, margin=0.05, log=is_log)
    y = scale(
        [it.value for curve in curves.values() for it in curve.values() if it.value is not None],
        _FRAME.bottom,
        _FRAME.top,
        margin=0.08,
    )
    unit = f" ({summary.metric.unit})" if summary.metric.unit else ""
    return Chart(
        name=f"search-{name.replace('.', '-')}",
        title=f"Validation {summary.metric.label}{unit} against the {option_label(name)}",
        frame=_FRAME,
        x_label=f"{option_label(name)}{', logarithmic' if is_log else ''}",
        x_ticks=_ticks(numbers, x),
        y_ticks=tuple(y.ticks(6)),
        series=tuple(_series(arm, curve, looks[arm], (x, y), summary.digits) for arm, curve in curves.items()),
    )


def _series(arm: str, curve: Mapping[float, Trial], look: Look, axes: tuple[Scale, Scale], digits: int) -> Series:
    """Return the line of an arm, with its shape at the value that it took."""
    x, y = axes
    places = {value: (x(value), y(it.value or 0.0)) for value, it in curve.items()}
    taken = next((value for value, it in curve.items() if it.taken), next(iter(curve)))
    return Series(
        name=arm,
        look=look,
        lines=(svg_path(tuple(places.values())),),
        shapes=tuple(place for value, place in places.items() if value != taken),
        mark=places[taken],
        hover=Hover(
            points=tuple(places.values()),
            texts=tuple(
                f"{value:g} · {fixed(it.value, digits)}{' · taken' if it.taken else ''}" for value, it in curve.items()
            ),
        ),
    )


def _ticks(numbers: list[float], x: Scale) -> tuple[tuple[float, str], ...]:
    """Return a tick at each value for which there is room."""
    ticks: list[tuple[float, str]] = []
    for value in numbers:
        place, text = x(value), f"{value:g}"
        if not ticks or place - ticks[-1][0] > _LETTER * (len(text) + len(ticks[-1][1])) / 2:
            ticks.append((place, text))
    return tuple(ticks)
