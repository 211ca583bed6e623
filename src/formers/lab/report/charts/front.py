"""Quality on validation against a cost: a mark for each trial of a larger search, and its front."""

from __future__ import annotations

import math
from collections.abc import Mapping

from formers.lab.report.sampled_search import SampledTrial, front_cost, options_text, sampled_trials
from formers.lab.report.summary import StudySummary
from formers.plot.chart import Chart, Hover, Series
from formers.plot.geometry import XY, Frame, box_around, svg_path
from formers.plot.labels import place_labels
from formers.plot.looks import SHARED_LOOK, Look
from formers.plot.number_format import fixed
from formers.plot.scales import Scale, scale, unit_for

_FRAME = Frame(width=640, height=400, left=56, right=624, top=12, bottom=346)


def front_chart(summary: StudySummary, looks: Mapping[str, Look]) -> Chart | None:
    """Return the chart of a larger search; None with fewer than two trials that have a result."""
    found = [it for it in sampled_trials(summary) if it.value is not None and it.cost is not None]
    if len(found) < 2:
        return None
    cost, (x, y), unit = front_cost(summary), *_axes(summary, found)
    places = {it.name: (x((it.cost or 0.0) / unit[0]), y(it.value or 0.0)) for it in found}
    front = sorted((it for it in found if it.on_front), key=lambda it: it.cost or 0.0)
    labels = place_labels(
        [(it.name, places[it.name]) for it in front],
        frame=_FRAME.box,
        reserved=[box_around(place, 3) for place in places.values()],
        avoided=[],
    )
    metric_unit = f" ({summary.metric.unit})" if summary.metric.unit else ""
    return Chart(
        name="search-front",
        title=f"Validation {summary.metric.label}{metric_unit} against {cost.label}, trial by trial",
        frame=_FRAME,
        x_label=cost.label + (f" ({unit[1]})" if unit[1] else "") + (", logarithmic" if x.log else ""),
        x_ticks=tuple(x.ticks(6)),
        y_ticks=tuple(y.ticks(6)),
        series=tuple(
            Series(
                name=it.name,
                look=looks.get(it.name, SHARED_LOOK),
                mark=places[it.name],
                filled=it.on_front,
                hover=_hover(summary, it, places[it.name]),
                label=labels.get(it.name),
            )
            for it in found
        ),
        front=svg_path([places[it.name] for it in front]) if len(front) > 1 else "",
    )


def _axes(summary: StudySummary, found: list[SampledTrial]) -> tuple[tuple[Scale, Scale], tuple[float, str]]:
    """Return both axes, and the unit along the cost."""
    cost = front_cost(summary)
    costs = [it.cost or 0.0 for it in found]
    unit = unit_for(costs, cost.units)
    log = min(costs) > 0 and (cost.log or max(costs) > 10 * min(costs))
    x = scale([value / unit[0] for value in costs], _FRAME.left + 6, _FRAME.right - 6, margin=0.05, log=log)
    values = [it.value for it in found if it.value is not None and math.isfinite(it.value)]
    return (x, scale(values, _FRAME.bottom, _FRAME.top, margin=0.08)), unit


def _hover(summary: StudySummary, it: SampledTrial, place: XY) -> Hover:
    """Return the text that a pointer finds at a trial."""
    told = f"{fixed(it.value, summary.digits)} · {front_cost(summary).text(it.cost)} · {options_text(it)}"
    return Hover(points=(place,), texts=(told + (" · on the front" if it.on_front else ""),))
