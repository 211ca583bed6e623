"""The small pictures in the ranking: each arm's metric on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from formers.lab.report.charts.quality_axis import quality_scale
from formers.lab.report.summary import ArmSummary, StudySummary
from formers.plot.scales import Scale

_WIDTH = 110
"Pixels."


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One arm's metric: its mean, its interval from `low` to `high`, and single seeds."""

    mark: float
    beyond: bool
    "The arm is so far behind the others that the scale ends before it."
    low: float
    high: float
    dots: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class MetricStrips:
    """All strips of a ranking: arm → strip, reference → place, for those within the scale."""

    width: int
    arms: Mapping[str, Strip]
    references: Mapping[str, float]


def metric_strips(summary: StudySummary) -> MetricStrips | None:
    """Return the strips of the ranked arms; None where no arm has a result."""
    if not summary.ranked:
        return None
    x = quality_scale(summary, 0, _WIDTH)
    references = summary.results.references.items()
    return MetricStrips(
        width=_WIDTH,
        arms={arm.name: _strip(arm, x) for arm in summary.ranked},
        references={name: x(value) for name, value in references if x.low <= value <= x.high},
    )


def _strip(arm: ArmSummary, x: Scale) -> Strip:
    """Return the strip of an arm that has a result."""
    assert arm.metric, "a ranked arm has a metric"
    mean, half = arm.metric.mean, arm.metric.half_width or 0.0
    dots = tuple(x(value) for value in arm.values.values() if x.low <= value <= x.high)
    return Strip(
        mark=x.inside(mean),
        beyond=not x.low <= mean <= x.high,
        low=x.inside(mean - half),
        high=x.inside(mean + half),
        dots=dots if len(arm.values) > 1 else (),
    )
