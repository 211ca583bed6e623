"""The weights that a mixer gives on a small example, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor

from formers.mixers import Mixer
from formers.mixers.mixer import MixerModule
from formers.mixers.mixing_weights import influence, mixing_weights
from formers.part import Site, seeded
from formers.positions import Position

_TEXT = "to be, or not to be, that is the question: "
_WIDTH, _HEADS, _PANEL, _LEARNED_STD = 32, 2, 4.6, 0.5
_BRIGHTEST = 0.98
"""The share of weights that the colours tell apart: the few that are near 1, of the first causal rows, are left out."""


def save_weights(mixer: Mixer, position: Position | None, directions: Sequence[bool], length: int, path: Path) -> None:
    """Write a PNG with a panel for each direction (`causal` or not): query tokens go down, key tokens across.

    The tokens are the characters of a sentence, each a random vector, and queries are projected as keys are, so that
    equal characters attend to each other. Drawn is y_i = Σ_j w_ij v_j of the first head; of a mixer without values
    ‖∂y_i/∂x_j‖. Numbers below 0, which approximations may give, are red.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, because it takes a second
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PANEL * len(directions), _PANEL + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    title = str(mixer) if position is None else f"{mixer} with {position}"
    (panels,) = figure.subplots(1, len(directions), squeeze=False)
    tokens = list(islice(cycle(_TEXT), length))
    for panel, causal in zip(panels, directions, strict=True):
        w_ls, what = _example(mixer, position, causal, tokens)
        top = float(w_ls.abs().quantile(_BRIGHTEST)) or 1.0
        low, colours = (-top, "RdBu") if bool((w_ls < 0).any()) else (0.0, "Blues")
        drawn = panel.imshow(w_ls.numpy(), cmap=colours, vmin=low, vmax=top, interpolation="nearest")
        panel.set_title("causal" if causal else "both ways", fontsize="medium")
        panel.set_xticks(range(length), tokens, fontsize=7)
        panel.set_yticks(range(length), tokens, fontsize=7)
        panel.set_xlabel("key")
        panel.set_ylabel("query")
        figure.colorbar(drawn, ax=panel, shrink=0.8, extend="max" if low == 0 else "both")
    figure.suptitle(f"{title}\n{what}", wrap=True)
    figure.savefig(path, format="png", dpi=150)


def _example(mixer: Mixer, position: Position | None, causal: bool, tokens: Sequence[str]) -> tuple[Tensor, str]:
    """Return the weights (L, L) on the tokens, and their name."""
    with seeded(0):
        site = Site(width=_WIDTH, heads=_HEADS, causal=causal, context_length=len(tokens), position=position)
        module = mixer.build(site).eval()
        _attend_to_likes(module)
        letters = sorted(set(tokens))
        vectors = torch.randn(len(letters), _WIDTH)
        x_bld = torch.stack([vectors[letters.index(token)] for token in tokens])[None]
        weights = mixing_weights(module, x_bld)
        if weights is None:
            return influence(module, x_bld), "‖∂y/∂x‖: how much an output depends on an input"
    return weights[0], "the weights of values in the first head"


@torch.no_grad()
def _attend_to_likes(module: MixerModule) -> None:
    """Give queries and keys the same projection, wide enough that scores of equal tokens stand out.

    What a position learns starts wide, too: at its usual start, near zero, there would be nothing to see of it.
    """
    for name in ("q_proj", "k_proj", "p_proj"):
        if isinstance(proj := getattr(module, name, None), torch.nn.Linear):
            proj.weight.copy_(torch.randn(proj.weight.shape, generator=torch.Generator().manual_seed(1)) / _WIDTH**0.5)
    learned = getattr(getattr(module, "score_position", None), "init_weights", None)
    if callable(learned):
        learned(_LEARNED_STD)
