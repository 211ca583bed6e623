"""Results of a model on held-out data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Split = Literal["validation", "test"]
"""Held-out data: a checkpoint is chosen on the first kind, and judged on the second, once."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model's results on one split.

    Attributes:
        metrics: name → value; the task's ranking metric is among them.
        slices: title → label → the ranking metric over that part of the split, as in `pairs` → `16` → 0.93.
        items: the ranking metric of each item, where it is their mean; the same items in the same order for every
            model.
    """

    metrics: dict[str, float]
    slices: dict[str, dict[str, float]] = field(default_factory=dict)
    items: tuple[float, ...] = ()
