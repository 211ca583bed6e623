"""Sites: where in a model a part is built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

from torch import nn

Place = Literal["nothing", "input", "layer", "heads", "scores", "weights"]
"""Places in a model where a position may act; `formers.positions.Position.acts_on` explains each."""

_FARTHEST = 100_000
"""How far from the number that was given another one is looked for."""


class _SiteNorm(Protocol):
    """The norm part as a site knows it: that it builds a module over the site's width."""

    def build(self, site: Site) -> nn.Module: ...


class _SitePosition(Protocol):
    """The position part as a site knows it: where it acts, and that it builds a module."""

    @property
    def acts_on(self) -> Place: ...

    def build(self, site: Site) -> nn.Module: ...


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything a part may ask about its surroundings when it builds its module.

    Attributes:
        width: model width D.
        heads: attention heads H.
        causal: whether tokens may see only their past.
        context_length: the longest sequence the model promises to take.
        layer, layers: index of this layer, and how many there are.
        dropout: probability of dropping an activation on the residual branches.
        position: the position part; a mixer asks it for what acts on its queries, keys or scores.
        key_width: width of queries, keys and values per head, where it is another one than K = D / H.
        qk_norm: the norm part on the queries and keys of each head, before any position; None: none.
    """

    width: int
    heads: int
    causal: bool
    context_length: int = 512
    layer: int = 0
    layers: int = 1
    dropout: float = 0.0
    position: _SitePosition | None = None
    key_width: int | None = None
    qk_norm: _SiteNorm | None = None

    @property
    def head_width(self) -> int:
        """K = D / H, or `key_width`. Raises ValueError when it does not come out whole."""
        return self.split(self.heads) if self.key_width is None else self.key_width

    def split(self, heads: int) -> int:
        """Return the width per head for a number of heads. Raise ValueError when the model's does not divide."""
        if heads < 1:
            raise ValueError(f"there must be at least 1 head, but {heads} was given")
        if self.width % heads:
            near = _near_divisor(self.width, heads)
            raise ValueError(f"width {self.width} does not divide into {heads} heads; {near} heads would work")
        return self.width // heads

    def at(self, layer: int) -> Self:
        """Return the same site in another layer."""
        return replace(self, layer=layer)

    def head_norm(self) -> nn.Module | None:
        """Return a norm over the width of a head, of its own for queries or for keys; None without one."""
        return None if self.qk_norm is None else self.qk_norm.build(replace(self, width=self.head_width))

    def with_heads(self, heads: int) -> Self:
        """Return the same site for a mixer that has its own number of heads."""
        return replace(self, heads=heads)


def _near_divisor(width: int, heads: int) -> int:
    """Return the number of heads nearest to `heads` that divides the width, of those near it; 1 where none is."""
    start = min(heads, width)
    for distance in range(min(start, _FARTHEST)):
        for near in (start - distance, start + distance):
            if width % near == 0:
                return near
    return 1
