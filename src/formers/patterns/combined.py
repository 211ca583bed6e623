"""Patterns made of patterns: both, either, outside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from formers.ops.sparse_attention import Fold, PairMask, Reordered
from formers.part import Site
from formers.patterns.pattern import Causal, Every, Pattern


class _OfTwo(Pattern):
    """Two patterns, asked one after the other."""

    a: Pattern = Every()
    "One pattern."
    b: Pattern = Every()
    "The other."

    def needs_length(self) -> bool:
        return self.a.needs_length() or self.b.needs_length()

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        return type(self)(*(side.resolve(length=length, causal=causal) for side in (self.a, self.b)))

    def check_site(self, site: Site) -> None:
        for side in (self.a, self.b):
            side.check_site(site)

    def at_layer(self, layer: int) -> Pattern:
        return type(self)(self.a.at_layer(layer), self.b.at_layer(layer))

    def longest(self) -> int | None:
        known = [most for most in (self.a.longest(), self.b.longest()) if most is not None]
        return min(known) if known else None


class Both(_OfTwo):
    """a & b: the pairs in both."""

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.a.mask(q_idx, k_idx) & self.b.mask(q_idx, k_idx)

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        return _in_both(self.a.mask_on(device), self.b.mask_on(device))

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return _bounds_of_both(self.a, self.b, q_lo, q_hi, k_lo, k_hi)

    def causal_form(self) -> Pattern:
        if isinstance(self.b, Causal):
            return Both(self.a.causal_form(), self.b)
        return Both(self.a.causal_form(), self.b.causal_form())

    def folded(self, length: int) -> Fold | None:
        """Return the order of either side; the other one, and causality, are asked about the tokens there."""
        for side, other in ((self.a, self.b), (self.b, self.a)):
            if (fold := side.folded(length)) is not None:
                inside = fold.pairs or Reordered(side, fold.order_c)
                return Fold(fold.key, fold.order_c, _Intersection(inside, Reordered(other, fold.order_c)))
        return None

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.a.recalled(k_idx, next_idx) & self.b.recalled(k_idx, next_idx)

    def memory(self) -> int | None:
        known = [most for most in (self.a.memory(), self.b.memory()) if most is not None]
        return min(known) if known else None

    def growth(self) -> float:
        return min(self.a.growth(), self.b.growth())

    def __repr__(self) -> str:
        return f"{_bracketed(self.a, (Either,))} & {_bracketed(self.b, (Either, Both))}"


class Either(_OfTwo):
    """a | b: the pairs in one or in both."""

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.a.mask(q_idx, k_idx) | self.b.mask(q_idx, k_idx)

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        a, b = self.a.mask_on(device), self.b.mask_on(device)
        return lambda q_idx, k_idx: a(q_idx, k_idx) | b(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        (some, every), (some_b, every_b) = (side.bounds(q_lo, q_hi, k_lo, k_hi) for side in (self.a, self.b))
        return some | some_b, every | every_b

    def causal_form(self) -> Pattern:
        return Either(self.a.causal_form(), self.b.causal_form())

    def folded(self, length: int) -> Fold | None:
        """Return an order that suits both sides; None where there is none."""
        a, b = self.a.folded(length), self.b.folded(length)
        return Fold(a.key, a.order_c) if a is not None and b is not None and a.key == b.key else None

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.a.recalled(k_idx, next_idx) | self.b.recalled(k_idx, next_idx)

    def memory(self) -> int | None:
        a, b = self.a.memory(), self.b.memory()
        return None if a is None or b is None else a + b

    def growth(self) -> float:
        return max(self.a.growth(), self.b.growth())

    def __repr__(self) -> str:
        return f"{self.a} | {_bracketed(self.b, (Either,))}"


class Outside(Pattern):
    """~a: the pairs that are not in a."""

    of: Pattern = Every()
    "The pattern that is left out."

    def needs_length(self) -> bool:
        return self.of.needs_length()

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return ~self.of.mask(q_idx, k_idx)

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        inside = self.of.mask_on(device)
        return lambda q_idx, k_idx: ~inside(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        some, every = self.of.bounds(q_lo, q_hi, k_lo, k_hi)
        return ~every, ~some

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        outside = Outside(self.of.resolve(length=length, causal=causal))
        return Both(outside, Causal()) if causal else outside

    def causal_form(self) -> Pattern:
        return Both(Outside(self.of.causal_form()), Causal())

    def check_site(self, site: Site) -> None:
        self.of.check_site(site)

    def at_layer(self, layer: int) -> Pattern:
        return Outside(self.of.at_layer(layer))

    def longest(self) -> int | None:
        return self.of.longest()

    def __repr__(self) -> str:
        return f"~{_bracketed(self.of, (Either, Both))}"


Pattern.operators.update({"&": Both, "|": Either, "~": Outside})


class _Intersection:
    """The pairs in both of two sets given in terms of places."""

    def __init__(self, a: PairMask, b: PairMask):
        self.a, self.b = a, b

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.a.mask(q_idx, k_idx) & self.b.mask(q_idx, k_idx)

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        return _in_both(self.a.mask_on(device), self.b.mask_on(device))

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return _bounds_of_both(self.a, self.b, q_lo, q_hi, k_lo, k_hi)


def _in_both(a: Callable[[Tensor, Tensor], Tensor], b: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda q_idx, k_idx: a(q_idx, k_idx) & b(q_idx, k_idx)


def _bounds_of_both(
    a: PairMask, b: PairMask, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `bounds` of the pairs in both sets."""
    (some, every), (some_b, every_b) = (side.bounds(q_lo, q_hi, k_lo, k_hi) for side in (a, b))
    return some & some_b, every & every_b


def _bracketed(pattern: Pattern, kinds: tuple[type[Pattern], ...]) -> str:
    """Return a pattern's text, in brackets if it is of a kind that binds more loosely than what is around it."""
    return f"({pattern})" if isinstance(pattern, kinds) else str(pattern)
