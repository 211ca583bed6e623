"""Filters for a ranking of many arms: the names of the parts in which arms differ."""

from __future__ import annotations

import json
from dataclasses import dataclass

from formers.lab.report.page_tables import differing_choices
from formers.lab.report.summary import StudySummary

_MOST = 40
"Names that one list holds."


@dataclass(frozen=True, kw_only=True)
class RankingFilters:
    """Axes with the names of the parts there are: axis → arm → name, without options."""

    axes: dict[str, dict[str, str]]

    @property
    def labels_json(self) -> str:
        """Return the axes as JSON."""
        return json.dumps([*self.axes], ensure_ascii=False)

    def parts_json(self, arm: str) -> str:
        """Return the names of an arm's parts as JSON, in the order of the axes."""
        return json.dumps([parts[arm] for parts in self.axes.values()], ensure_ascii=False)


def ranking_filters(summary: StudySummary) -> RankingFilters:
    """Return the axes on which arms have parts of at least two names, and not too many to choose from."""
    names = {
        axis: {arm: part.partition("(")[0] for arm, part in parts.items()}
        for axis, parts in differing_choices(summary).items()
    }
    return RankingFilters(axes={axis: parts for axis, parts in names.items() if 1 < len({*parts.values()}) <= _MOST})
