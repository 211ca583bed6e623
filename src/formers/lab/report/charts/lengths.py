"""Quality against the length that a trained model is tested at, relative to the trained length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formers.lab.report.confidence_interval import Estimate
from formers.lab.report.estimate_text import estimate_text
from formers.lab.report.lengths import LengthTable
from formers.lab.report.summary import StudySummary
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import XY, Frame, svg_band, svg_path
from formers.plot.looks import Look
from formers.plot.scales import Scale, Tick, scale

_FRAME = Frame(width=640, height=400, left=50, right=624, top=12, bottom=346)
_LETTER = 8.5
"Width of a letter on the axis, at the larger size which a phone gets."


def lengths_chart(summary: StudySummary, table: LengthTable, looks: Mapping[str, Look]) -> Chart | None:
    """Return the chart for the arms in `looks`: a line each, with the interval over seeds; None without such an arm.

    A line ends in a cross before a length that the arm cannot take.
    """
    arms = [arm for arm, values in table.values.items() if arm in looks and any(values)]
    if not arms:
        return None
    x = scale(table.times, _FRAME.left, _FRAME.right, margin=0.05, log=True)
    means = [value.mean for arm in arms for value in table.values[arm] if value]
    places = _Places(table=table, x=x, y=scale(means, _FRAME.bottom, _FRAME.top, margin=0.08))
    unit = f" ({summary.metric.unit})" if summary.metric.unit else ""
    return Chart(
        name="lengths",
        title=f"Test {summary.metric.label}{unit} against the length",
        frame=_FRAME,
        x_label=f"length, in multiples of the trained one ({table.trained:,} tokens), logarithmic",
        x_ticks=_ticks(table, x),
        y_ticks=tuple(places.y.ticks(6)),
        series=tuple(places.series(arm, looks[arm], summary.digits) for arm in arms),
    )


@dataclass(frozen=True, kw_only=True)
class _Places:
    """From a table to places in the chart."""

    table: LengthTable
    x: Scale
    y: Scale

    def series(self, arm: str, look: Look, digits: int) -> Series:
        """Return the line of an arm, its interval, and a shape at each length."""
        known = [(i, value) for i, value in enumerate(self.table.values[arm]) if value]
        at = tuple((self.x(self.table.times[i]), self.y(value.mean)) for i, value in known)
        last = known[-1][0]
        return Series(
            name=arm,
            look=look,
            lines=(svg_path(at),),
            band=self.band(known),
            shapes=at[:-1],
            mark=at[-1],
            cut=self.ends(arm, last),
            hover=Hover(
                points=at,
                texts=tuple(f"{self.table.lengths[i]:,} tokens · {estimate_text(it, digits)}" for i, it in known),
            ),
        )

    def band(self, known: list[tuple[int, Estimate]]) -> str:
        """Return the path around the intervals; empty where a length has none. The frame cuts off what is beyond."""
        if len(known) < 2 or any(value.half_width is None for _, value in known):
            return ""
        return svg_band(self.edge(known, 1), self.edge(known, -1))

    def edge(self, known: list[tuple[int, Estimate]], side: int) -> list[XY]:
        """Return the upper (1) or the lower (−1) edge of the band."""
        return [(self.x(self.table.times[i]), self.y(v.mean + side * (v.half_width or 0))) for i, v in known]

    def ends(self, arm: str, last: int) -> bool:
        """Return whether an arm cannot take the length after its last one."""
        rest = self.table.lengths[last + 1 :]
        return bool(rest) and self.table.cannot(arm, rest[0])


def _ticks(table: LengthTable, x: Scale) -> tuple[Tick, ...]:
    """Return `2×` at each length, without those for which there is no room."""
    ticks = [(x(times), f"{times:.3g}×") for times in table.times]
    chosen = [tick for tick, times in zip(ticks, table.times, strict=True) if times == 1]
    for tick in ticks:
        if all(abs(tick[0] - other[0]) > _LETTER * (len(tick[1]) + len(other[1])) / 2 for other in chosen):
            chosen.append(tick)
    return tuple(sorted(chosen))
