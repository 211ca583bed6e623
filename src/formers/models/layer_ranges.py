"""Layers in words."""

from __future__ import annotations

from collections.abc import Sequence


def layer_ranges(layers: Sequence[int]) -> str:
    """Return rising numbers of layers as text, runs of them as the first and the last: 0-3, 5."""
    there = set(layers)
    starts = [n for n in layers if n - 1 not in there]
    ends = [n for n in layers if n + 1 not in there]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
