"""References of residual wirings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from formers.part import Site
from formers.residuals import Danet, PostNorm, PreNorm, Reversible
from formers.testing.references.registry import reference


class Sublayers(NamedTuple):
    """What a wiring connects, each as a function of hidden states (B, L, D)."""

    mixer: Callable[[Tensor], Tensor]
    ffn: Callable[[Tensor], Tensor]
    mixer_norm: Callable[[Tensor], Tensor]
    ffn_norm: Callable[[Tensor], Tensor]


@reference(PreNorm)
def pre_norm(part: PreNorm, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """a = x + mixer(norm(x)); y = a + ffn(norm(a))."""
    a_bld = x_bld + layer.mixer(layer.mixer_norm(x_bld))
    return a_bld + layer.ffn(layer.ffn_norm(a_bld))


@reference(PostNorm)
def post_norm(part: PostNorm, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """a = norm(x + mixer(x)); y = norm(a + ffn(a))."""
    a_bld = layer.mixer_norm(x_bld + layer.mixer(x_bld))
    return layer.ffn_norm(a_bld + layer.ffn(a_bld))


@reference(Danet)
def danet(part: Danet, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """y = x + norm(ffn(mixer(norm(x)))), with another norm behind the feed-forward where the part has one."""
    return x_bld + layer.ffn_norm(layer.ffn(layer.mixer(layer.mixer_norm(x_bld))))


@reference(Reversible)
def reversible(part: Reversible, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """y₁ = x₁ + mixer(norm(x₂)), y₂ = x₂ + ffn(norm(y₁)); both streams begin as x, and the result is their mean."""
    first = x_bld + layer.mixer(layer.mixer_norm(x_bld))
    second = x_bld + layer.ffn(layer.ffn_norm(first))
    return 0.5 * first + 0.5 * second
