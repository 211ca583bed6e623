"""What swaps cost, as a picture: a row for each mixer, a column for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from formers.adapt.swap_costs import Swap


def save_swaps(swaps: Sequence[Swap], path: Path, score: str | None = None) -> None:
    """Write a PNG of the rise of −log p where one layer alone takes a mixer: dark where the layer needs its own.

    What could not be measured is a grey cell, and has no part in the scale. Of swaps that were measured by a task's
    score, `score` is its name.
    """
    import matplotlib
    import numpy as np  # here, because drawing takes a second to load
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    own = next(swap.nats for swap in swaps if not swap.mixer)
    alone = {(swap.mixer, swap.layers[0]): swap.nats - own for swap in swaps if len(swap.layers) == 1}
    mixers, layers = list(dict.fromkeys(m for m, _ in alone)), sorted({layer for _, layer in alone})
    rise = np.array([[alone[mixer, layer] for layer in layers] for mixer in mixers])
    wide = 2.5 + 0.1 * max(map(len, mixers)) + 0.3 * len(layers)  # inches: names, and a cell for each layer
    figure = Figure(figsize=(wide, 1.6 + 0.4 * len(mixers)), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    measured = np.isfinite(rise)
    most = max([2e-3, *rise[measured].tolist()])
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="0.75")
    shown = np.ma.array(np.clip(rise, 1e-3, None), mask=~measured)
    image = panel.imshow(shown, cmap=colours, norm=LogNorm(1e-3, most), aspect="auto")
    panel.set_yticks(range(len(mixers)), mixers)
    panel.set_xticks(range(len(layers)), list(map(str, layers)))
    what = "rise of −log p" if score is None else f"loss of {score}"
    panel.set_title(f"{what} where one layer alone is swapped", fontsize="medium")
    panel.set_xlabel("layer" if measured.all() else "layer (grey: not measured)")
    figure.colorbar(image, label="nats a token" if score is None else score)
    figure.savefig(path, format="png", dpi=150)
