"""Accuracy of finding a fact, as a heat map: a row for each length, a column for each depth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from formers.evaluation.needle_grid import NeedleGrid


def save_needle_grid(grid: NeedleGrid, path: Path) -> None:
    """Write a PNG of the share of answers that were found: dark where all were."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, because drawing takes a second to load
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 + 0.6 * len(grid.depths), 1.5 + 0.45 * len(grid.lengths)), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    image = panel.imshow(grid.shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    panel.set_xticks(range(len(grid.depths)), [f"{depth:.0%}" for depth in grid.depths])
    panel.set_yticks(range(len(grid.lengths)), [f"{length:,}" for length in grid.lengths])
    for row, shares in enumerate(grid.shares):
        for column, share in enumerate(shares):
            colour = "white" if share > 0.5 else "black"
            panel.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize="small", color=colour)
    panel.set_xlabel("text before the fact")
    panel.set_ylabel("tokens")
    panel.set_title("answers found", fontsize="medium")
    figure.colorbar(image)
    figure.savefig(path, format="png", dpi=150)
