"""References of what a part is tried in: the laws build a norm, for one, into a layer around attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from torch import Tensor

from formers.computation import Computation
from formers.ffn import Ffn, Mlp
from formers.memory import Memory
from formers.mixers import FeatureMap, Linear, Mixer, Softmax
from formers.norms import LayerNorm, Norm
from formers.part import Part, Site
from formers.positions import Position
from formers.residuals import PreNorm, Residual
from formers.testing.references.algebra import Weights, under
from formers.testing.references.computation import Stack
from formers.testing.references.registry import reference_of
from formers.testing.references.residuals import Sublayers

Hosted: TypeAlias = Callable[[Weights, Tensor, Tensor], Tensor]
"""`hosted(weights, x_bld, positions_bl)` → y_bld: the part and its host, without padding."""
_DEPTH = 3
"""Of the model whose layers a computation runs."""


def hosted(part: Part, site: Site) -> Hosted:
    """Return the reference of the part in its host at this site. Raise LookupError where the part has none."""
    reference_of(part)
    if isinstance(part, Mixer):
        return _mixer(part, site)
    if isinstance(part, FeatureMap):
        return _mixer(Linear(feature=part), site)
    if isinstance(part, Position):
        return _position(part, replace(site, position=part))
    if isinstance(part, Memory):
        return lambda weights, x_bld, positions_bl: reference_of(part)(part, site, weights, [x_bld], positions_bl)[0]
    if isinstance(part, Norm):
        return _layer(PreNorm(), site, Mlp(), part)
    if isinstance(part, Ffn):
        return _layer(PreNorm(), site, part, LayerNorm())
    if isinstance(part, Residual):
        return _layer(part, site, Mlp(), LayerNorm())
    if isinstance(part, Computation):
        return _stack(part, site)
    raise TypeError(f"no reference knows how {part} is hosted")


def _mixer(part: Mixer, site: Site) -> Hosted:
    return lambda weights, x_bld, positions_bl: reference_of(part)(part, site, weights, x_bld, positions_bl)


def _position(part: Any, site: Site) -> Hosted:
    """Attention with the position; one that acts on the input stands in front of it."""
    attention = _mixer(Softmax(), site)
    if part.acts_on != "input":
        return attention

    def compute(weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        width = part.embedding_width(site)
        embedded = reference_of(part)(part, site, under(weights, "position"), x_bld[:, :, :width], positions_bl)
        return attention(under(weights, "mixer"), embedded, positions_bl)

    return compute


def _stack(part: Any, site: Site) -> Hosted:
    """Layers of attention that a computation runs."""

    def compute(weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        def layer(number: int) -> Callable[[Tensor], Tensor]:
            inside = under(weights, f"layers.{number}")
            return lambda x: _layer(PreNorm(), site, Mlp(), LayerNorm())(inside, x, positions_bl)

        made = {int(name.split(".")[1]) for name in weights if name.startswith("layers.")}
        run = Stack([layer(number) for number in sorted(made)], _DEPTH, positions_bl, under(weights, "computation"))
        y: Tensor = reference_of(part)(part, site, run, x_bld)
        return y

    return compute


def _layer(wiring: Any, site: Site, ffn: Ffn, norm: Norm) -> Hosted:
    """A layer of attention and a feed-forward."""

    def compute(weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        inside = under(weights, "layer") or weights  # a wiring with an own beginning and end has the layer inside

        def apply(part: Part, name: str) -> Callable[[Tensor], Tensor]:
            return lambda x: reference_of(part)(part, site, under(inside, name), x)

        layer = Sublayers(
            mixer=lambda x: _mixer(Softmax(), site)(under(inside, "mixer"), x, positions_bl),
            ffn=apply(ffn, "ffn"),
            mixer_norm=apply(norm, "mixer_norm"),
            ffn_norm=apply(getattr(wiring, "out_norm", None) or norm, "ffn_norm"),
            weights=inside,
        )
        y: Tensor = reference_of(wiring)(wiring, site, layer, x_bld)
        return y

    return compute
