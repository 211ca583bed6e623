"""Quality against a cost: one mark an arm, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from formers.lab.report.charts.names import listed, short_name
from formers.lab.report.charts.quality_axis import arrow_beyond, quality_scale, reference_lines
from formers.lab.report.costs import STATE, STATE_SIZE, Cost
from formers.lab.report.estimate_text import estimate_text
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.chart import Chart, Hover, ReferenceLine, Series
from formers.plot.geometry import XY, Box, Frame, box_around, svg_path
from formers.plot.labels import Label, box_before, boxes_along, place_labels
from formers.plot.looks import SHARED_LOOK, Look
from formers.plot.scales import Scale, scale, unit_for

_FRAME = Frame(width=480, height=330, left=48, right=466, top=12, bottom=284)
_SAME = 1.005
"Costs whose ratio is below this are the same."


def trade_off_chart(summary: StudySummary, cost: Cost, looks: Mapping[str, Look]) -> Chart | str:
    """Return quality against `cost` as a chart; a sentence where arms do not differ in it; "" with fewer than two."""
    costs = {arm.name: arm.costs[cost.name] for arm in summary.ranked}
    values = {name: value for name, value in costs.items() if value is not None and (value or not cost.log)}
    if len(values) < 2:
        return ""
    if max(values.values()) <= min(values.values()) * _SAME:
        [first, *_] = values.values()
        return f"All arms have the same {cost.label}: {cost.text(first)}, within half a percent."
    return _TradeOff(summary=summary, cost=cost, looks=looks, values=values).chart()


@dataclass(frozen=True, kw_only=True)
class _TradeOff:
    """The arms in a chart, `values` being arm → cost, and their places in it."""

    summary: StudySummary
    cost: Cost
    looks: Mapping[str, Look]
    values: Mapping[str, float]

    def chart(self) -> Chart:
        """Return the whole chart."""
        front, unit = self.front, self.unit[1]
        return Chart(
            name=self.cost.name,
            title=f"Test {self.summary.metric.label} against {self.cost.label}",
            frame=_FRAME,
            x_label=self.cost.label + (f" ({unit})" if unit else "") + (", logarithmic" if self.x.log else ""),
            x_ticks=tuple(self.x.ticks(5)),
            y_ticks=tuple(self.y.ticks(5)),
            series=self.series(),
            references=self.references,
            front=svg_path([mark for _, mark in front]) if len(front) > 1 else "",
            note=self.note(),
        )

    @cached_property
    def arms(self) -> list[ArmSummary]:
        """Return the arms that have this cost, best first."""
        return [arm for arm in self.summary.ranked if arm.name in self.values]

    @cached_property
    def unit(self) -> tuple[float, str]:
        """Return the size and the name of the unit along the axis."""
        return unit_for(list(self.values.values()), self.cost.units)

    @cached_property
    def x(self) -> Scale:
        """Return the axis of the cost, in `unit`."""
        runs = [value for arm in self.arms for value in (self.values[arm.name], *(x for x, _ in self.runs(arm)))]
        values, ends = list(self.values.values()), (_FRAME.left + 6, _FRAME.right - 6)
        log = self.cost.log or max(values) > 10 * min(values) > 0
        return scale([value / self.unit[0] for value in runs], *ends, log=log)

    @cached_property
    def y(self) -> Scale:
        """Return the axis of the metric."""
        return quality_scale(self.summary, _FRAME.bottom, _FRAME.top, margin=0.12, reach=4)

    @cached_property
    def marks(self) -> dict[str, XY]:
        """Return arm → place of its mark."""
        return {
            arm.name: (self.x(self.values[arm.name] / self.unit[0]), self.y.inside(arm.metric.mean))
            for arm in self.arms
            if arm.metric
        }

    @cached_property
    def references(self) -> tuple[ReferenceLine, ...]:
        """Return the lines of the references."""
        return reference_lines(self.summary, self.y)

    @cached_property
    def front(self) -> list[tuple[str, XY]]:
        """Return (short name, place) of the arms on the Pareto front, from cheap to dear."""
        arms = [arm for arm in self.arms if self.cost.name in arm.fronts]
        found = sorted((self.values[arm.name], short_name(arm), self.marks[arm.name]) for arm in arms)
        return [(name, mark) for _, name, mark in found]

    def runs(self, arm: ArmSummary) -> list[tuple[float, float]]:
        """Return (cost, metric) of the single runs of an arm, where there are several."""
        if len(arm.values) < 2:
            return []
        found = [(getattr(row, self.cost.name), arm.values[row.seed]) for row in arm.rows if row.seed in arm.values]
        return [(value, metric) for value, metric in found if value and math.isfinite(value)]

    def dots(self, arm: ArmSummary) -> tuple[XY, ...]:
        """Return the places of the single runs of an arm with a look of its own."""
        if arm.name not in self.looks:
            return ()
        inside = [(value, metric) for value, metric in self.runs(arm) if not arrow_beyond(metric, self.y)]
        return tuple((self.x(value / self.unit[0]), self.y(metric)) for value, metric in inside)

    def whisker_boxes(self) -> list[Box]:
        """Return what the intervals cover."""
        found = [(self.marks[arm.name][0], sorted(ends)) for arm in self.arms if (ends := self.interval(arm))]
        return [(x - 3, top, x + 3, bottom) for x, (top, bottom) in found]

    def interval(self, arm: ArmSummary) -> tuple[float, ...]:
        """Return the two ends of the interval of an arm's metric; none where it has none, or lies beyond the frame."""
        if arm.metric is None or arm.metric.half_width is None or arrow_beyond(arm.metric.mean, self.y):
            return ()
        return tuple(self.y.inside(arm.metric.mean + sign * arm.metric.half_width) for sign in (-1, 1))

    def whisker(self, arm: ArmSummary) -> str:
        """Return the path of the interval of an arm's metric; empty where there is none."""
        if not (ends := self.interval(arm)):
            return ""
        (low, high), x = ends, self.marks[arm.name][0]
        return f"M{x - 3:.1f} {low:.1f}h6M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {high:.1f}h6"

    def label_text(self, arm: ArmSummary) -> str:
        """Return the name beside a mark, with an arrow where the arm lies outside the frame."""
        return short_name(arm) + (arrow_beyond(arm.metric.mean, self.y) if arm.metric else "")

    def by_importance(self) -> list[ArmSummary]:
        """Return the arms on the front, then those with a look of their own, then the others."""
        return sorted(self.arms, key=lambda arm: (self.cost.name not in arm.fronts, arm.name not in self.looks))

    def labels(self) -> dict[str, Label]:
        """Return text → label, as far as there is room."""
        return place_labels(
            [(self.label_text(arm), self.marks[arm.name]) for arm in self.by_importance()],
            frame=_FRAME.box,
            reserved=self.reserved(),
            avoided=[*boxes_along([mark for _, mark in self.front]), *self.whisker_boxes()],
            shorter={self.label_text(arm): f"#{arm.rank}" for arm in self.arms},
        )

    def reserved(self) -> list[Box]:
        """Return what no label may cover: reference lines and their names, single runs, arrows beside marks."""
        lines = self.references
        boxes = [box_before(_FRAME.right, line.text_y(_FRAME), line.text) for line in lines]
        boxes += [(_FRAME.left, line.y - 1, _FRAME.right, line.y + 1) for line in lines if not line.beyond]
        boxes += [box_around(dot, 2) for arm in self.arms for dot in self.dots(arm)]
        growing = [self.marks[arm.name] for arm in self.arms if _state_grows(arm, self.cost)]
        return boxes + [(x + 5, y - 4, x + 17, y + 4) for x, y in growing]

    def series(self) -> tuple[Series, ...]:
        """Return one series an arm."""
        labels = self.labels()
        return tuple(self.arm_series(arm, labels.get(self.label_text(arm))) for arm in self.arms)

    def arm_series(self, arm: ArmSummary, label: Label | None) -> Series:
        """Return the mark of an arm, with its single runs."""
        on_front = self.cost.name in arm.fronts
        mark = self.marks[arm.name]
        text = f"{estimate_text(arm.metric, self.summary.digits)} · {self.cost.text(self.values[arm.name])}"
        return Series(
            name=arm.name,
            look=self.looks.get(arm.name, SHARED_LOOK),
            whisker=self.whisker(arm),
            dots=self.dots(arm),
            mark=mark,
            filled=on_front,
            arrow=_state_grows(arm, self.cost),
            hover=Hover(points=(mark,), texts=(text + (" · on the front" if on_front else ""),)),
            label=label,
        )

    def note(self) -> str:
        """Return the sentences below the chart."""
        far = [short_name(arm) for arm in self.arms if arm.metric and arrow_beyond(arm.metric.mean, self.y)]
        return " ".join(
            [
                *_sentence("On the front", [name for name, _ in self.front]),
                *_sentence("Beyond the frame", far),
                *(_state_sentences(self.summary) if self.cost is STATE_SIZE else []),
            ]
        )


def _state_grows(arm: ArmSummary, cost: Cost) -> bool:
    """Return whether `cost` is the size of a streaming state, and that of this arm grows with the length."""
    return cost is STATE_SIZE and bool(arm.costs[STATE.name])


def _state_sentences(summary: StudySummary) -> list[str]:
    """Return what explains the chart of the streaming state."""
    sizes = [(short_name(arm), arm.costs[STATE_SIZE.name]) for arm in summary.ranked]
    grows = any(_state_grows(arm, STATE_SIZE) for arm in summary.ranked)
    return [
        *(["An arrow marks a state that grows with the length."] if grows else []),
        *_sentence("Not streaming, so left out", [name for name, size in sizes if size is None]),
        *_sentence("Without any state", [name for name, size in sizes if size == 0]),
    ]


def _sentence(start: str, names: Sequence[str]) -> list[str]:
    """Return the sentence that lists `names`; none without names."""
    return [f"{start}: {listed(names)}."] if names else []
