"""Patterns as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from formers.patterns import Pattern
from formers.patterns.picture import mask_of

_PANEL = 3.4
"""Inches a panel."""


def save_masks(
    title: str, patterns: Mapping[str, Pattern], directions: Sequence[bool], length: int, path: Path
) -> None:
    """Write a PNG with a row for each pattern, named by its heads, and a column for each direction (`causal` or not).

    Queries go down and keys across, dark where a query sees a key; above it the share of all length² pairs.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, because it takes a second
    from matplotlib.figure import Figure

    size = (_PANEL * len(directions), _PANEL * len(patterns) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, wrap=True)
    panels = figure.subplots(len(patterns), len(directions), squeeze=False)
    for row, (heads, pattern) in zip(panels, patterns.items(), strict=True):
        for panel, causal in zip(row, directions, strict=True):
            mask = mask_of(pattern, length, causal).numpy()
            panel.imshow(mask, cmap="Blues", vmin=0, vmax=1.2, interpolation="nearest")
            direction = "causal" if causal else "both ways"
            share = f"{pattern.density(length, causal=causal):.0%} of {length}²"
            panel.set_title(f"{heads + ': ' if heads else ''}{direction}, {share}", fontsize="medium")
            panel.set_xlabel("key")
            panel.set_ylabel("query")
    figure.savefig(path, format="png", dpi=150)
