"""A chart as geometry: what `chart.svg.jinja` draws, in the units of the chart's own coordinates."""

from __future__ import annotations

import json
from dataclasses import dataclass

from formers.plot.geometry import XY, Frame
from formers.plot.labels import Label
from formers.plot.looks import Look
from formers.plot.scales import Tick

_LETTER, _GAP, _USUAL = 10.5, 9, 5
"""Width of a digit, room beside a number of the vertical axis, and the digits that every frame has room for."""


@dataclass(frozen=True, kw_only=True)
class Hover:
    """What a pointer finds in a series: places, and the text that each of them shows."""

    points: tuple[XY, ...]
    texts: tuple[str, ...]

    @property
    def points_json(self) -> str:
        """Return the places as JSON: `[[x, y], …]`."""
        return json.dumps(self.points)

    @property
    def texts_json(self) -> str:
        """Return the texts as JSON."""
        return json.dumps(self.texts, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One arm, or one subject, in one chart."""

    name: str
    look: Look
    lines: tuple[str, ...] = ()
    "SVG paths: the main line first, then thin ones."
    band: str = ""
    "SVG path around the interval of the main line."
    whisker: str = ""
    "SVG path of the interval through the mark."
    dots: tuple[XY, ...] = ()
    "Small dots: single seeds, or single sizes."
    shapes: tuple[XY, ...] = ()
    "Places of the series' shape at a smaller size."
    mark: XY
    "The place of the shape at its full size."
    filled: bool = True
    cut: bool = False
    "Draw a cross at `mark` instead of the shape: the line ends because the run failed."
    arrow: bool = False
    "Draw an arrow to the right of the mark: the value grows with the length."
    hover: Hover
    label: Label | None = None


@dataclass(frozen=True, kw_only=True)
class ReferenceLine:
    """A dashed line across a chart. One that lies `beyond` the frame is only named there, with an arrow."""

    y: float
    text: str
    beyond: bool

    def text_y(self, frame: Frame) -> float:
        """Return the base line of the name: above the line, or within the frame where the line lies above that."""
        return self.y + (14 if self.beyond and self.y < frame.bottom / 2 else -5)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart: its frame, its axes, and the series in it. `name` is unique on the page."""

    name: str
    title: str
    frame: Frame
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    references: tuple[ReferenceLine, ...] = ()
    front: str = ""
    "SVG path through the arms that are on the Pareto front."
    note: str = ""

    @property
    def overhang(self) -> int:
        """Return how far the numbers of the vertical axis reach beyond the left edge, at the letter size of phones."""
        longest = max((len(text) for _, text in self.y_ticks), default=0)
        return max(0, round(_LETTER * longest) + _GAP - self.frame.left) if longest > _USUAL else 0
