"""Charts of what a prompt's length costs, both axes logarithmic, a line for each of several things."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from formers.bench.charts.axes import FRAME, Plane
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import svg_path
from formers.plot.looks import SHARED_LOOK, Look
from formers.plot.scales import scale, unit_for

BYTES = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))
SECONDS = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
Costs = Mapping[str, Sequence[tuple[int, float]]]
"""Name → (length, cost), by length."""


def cost_chart(
    name: str,
    title: str,
    costs: Costs,
    looks: Mapping[str, Look],
    units: Sequence[tuple[float, str]],
    text: Callable[[float], str],
) -> Chart | None:
    """Return the chart of some costs against the length of the prompt; None for less than two lengths.

    Args:
        name: unique on the page.
        units: (size, name) of the units that the upright axis may have.
        text: a cost as the pointer shows it.
    """
    costs = {key: points for key, points in costs.items() if points}
    lengths = sorted({length for points in costs.values() for length, _ in points})
    if len(lengths) < 2:
        return None
    values = [value for points in costs.values() for _, value in points]
    unit, unit_name = unit_for(values, units)
    on = Plane(
        axis="length",
        sizes=tuple(lengths),
        x=scale([float(length) for length in lengths], FRAME.left + 10, FRAME.right - 10, margin=0.02, log=True),
        y=scale([value / unit for value in values], FRAME.bottom, FRAME.top, log=True),
        unit=unit,
    )
    series = [_series(key, points, on, looks.get(key, SHARED_LOOK), text) for key, points in costs.items()]
    return on.chart(name, f"{title} ({unit_name})", series)


def _series(
    name: str, points: Sequence[tuple[int, float]], on: Plane, look: Look, text: Callable[[float], str]
) -> Series:
    at = tuple(on.place(length, value) for length, value in points)
    texts = tuple(f"length {length:,} · {text(value)}" for length, value in points)
    hover = Hover(points=at, texts=texts)
    return Series(name=name, look=look, lines=(svg_path(at),), dots=at[:-1], mark=at[-1], hover=hover)
