"""The pattern axis: which pairs of tokens see each other, and how patterns combine."""

from __future__ import annotations

from typing import dataclass_transform

import torch
from torch import Tensor

from formers.ops.sparse_attention import Fold, PairMask, Reordered, block_lists
from formers.part import Part


@dataclass_transform(frozen_default=True, kw_only_default=False)
class Pattern(Part):
    """A set of (query, key) pairs. `a & b`, `a | b` and `~a` are patterns, too; in text as in Python.

    A new one needs `mask` only. `bounds` lets block lists skip what is surely empty without looking at every pair;
    `causal_form` says what causality makes of the pattern where that is more than leaving out the future.
    """

    positional = True

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        """Return True where query i sees key j, for token indices that broadcast.

        It is FlexAttention's `mask_mod` without its b and h.
        """
        raise NotImplementedError(f"{self.name()} must define mask(q_idx, k_idx)")

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for the pairs [q_lo, q_hi] × [k_lo, k_hi], whether any may be in, and whether surely all are."""
        maybe = torch.ones(torch.broadcast_shapes(q_lo.shape, k_lo.shape), dtype=torch.bool)
        return maybe, ~maybe

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        """Return the pattern for a known number of tokens, and without what lies in the future when causal."""
        pattern = self.sized(length)
        return pattern.causal_form() if causal else pattern

    def sized(self, length: int) -> Pattern:
        """Return the pattern for a known number of tokens."""
        return self

    def causal_form(self) -> Pattern:
        """Return the pattern as a causal model means it: without the future."""
        return self & Causal()

    def at_layer(self, layer: int) -> Pattern:
        """Return the pattern in one layer of a model: another one where it is drawn at random."""
        return self

    def folded(self, length: int) -> Fold | None:
        """Return an order of the tokens in which the pairs lie closer together, or None where there is none."""
        return None

    def fits(self, length: int) -> None:
        """Raise `ValueError` where the pattern makes no sense for so many tokens."""

    def needs_length(self) -> bool:
        """Return True if the pairs depend on how many tokens there are. Such a pattern cannot stream."""
        return False

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        """Return True for the keys that a causal model must remember for the queries from `next_idx` on."""
        return torch.ones_like(k_idx + next_idx, dtype=torch.bool)

    def memory(self) -> int | None:
        """Return the most keys that `recalled` ever names at once; None without a limit."""
        return None

    def growth(self) -> float:
        """Return the power of the length that the number of pairs grows with."""
        return 2.0

    def density(self, length: int, *, causal: bool = False) -> float:
        """Return the share of all length² pairs that the pattern contains."""
        return block_lists(self.resolve(length=length, causal=causal), length, length).pairs / length**2

    def reaches(self, length: int, steps: int = 1, *, causal: bool = False) -> Tensor:
        """Return which tokens reach which in so many layers, (length, length) bool. For small lengths."""
        tokens = torch.arange(length)
        one = self.resolve(length=length, causal=causal).mask(tokens[:, None], tokens[None, :])
        return compose([one.expand(length, length)] * steps)

    def __and__(self, other: Pattern) -> Pattern:
        return Both(self, other) if isinstance(other, Pattern) else NotImplemented

    def __or__(self, other: Pattern) -> Pattern:
        return Either(self, other) if isinstance(other, Pattern) else NotImplemented

    def __invert__(self) -> Pattern:
        return Outside(self)


def compose(layers: list[Tensor]) -> Tensor:
    """Return the pairs that a stack of layers connects, from the first on: their boolean product, with residuals."""
    reached = torch.eye(len(layers[0]), dtype=torch.bool)
    for layer in layers:
        reached = reached | ((layer.float() @ reached.float()) > 0)
    return reached


class Every(Pattern):
    """Every pair."""

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return torch.ones_like(q_idx + k_idx, dtype=torch.bool)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        all_in = torch.ones(torch.broadcast_shapes(q_lo.shape, k_lo.shape), dtype=torch.bool)
        return all_in, all_in

    def causal_form(self) -> Pattern:
        return Causal()


class Causal(Pattern):
    """j ≤ i: nothing that lies in the future."""

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return k_idx <= q_idx

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return k_lo <= q_hi, k_hi <= q_lo

    def causal_form(self) -> Pattern:
        return self


class Both(Pattern):
    """a & b: the pairs in both."""

    a: Pattern = Every()
    "One pattern."
    b: Pattern = Every()
    "The other."

    def needs_length(self) -> bool:
        return self.a.needs_length() or self.b.needs_length()

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.a.mask(q_idx, k_idx) & self.b.mask(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        (some, every), (some_b, every_b) = (side.bounds(q_lo, q_hi, k_lo, k_hi) for side in (self.a, self.b))
        return some & some_b, every & every_b

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        return Both(*(side.resolve(length=length, causal=causal) for side in (self.a, self.b)))

    def causal_form(self) -> Pattern:
        if isinstance(self.b, Causal):
            return Both(self.a.causal_form(), self.b)
        return Both(self.a.causal_form(), self.b.causal_form())

    def at_layer(self, layer: int) -> Pattern:
        return Both(self.a.at_layer(layer), self.b.at_layer(layer))

    def folded(self, length: int) -> Fold | None:
        """Return the order of either side; the other one, and causality, are asked about the tokens there."""
        folds = [(side, other, side.folded(length)) for side, other in ((self.a, self.b), (self.b, self.a))]
        for side, other, fold in folds:
            if fold is not None:
                return Fold(
                    fold.key,
                    fold.order_c,
                    _Intersection(fold.pairs or Reordered(side, fold.order_c), Reordered(other, fold.order_c)),
                )
        return None

    def fits(self, length: int) -> None:
        self.a.fits(length)
        self.b.fits(length)

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.a.recalled(k_idx, next_idx) & self.b.recalled(k_idx, next_idx)

    def memory(self) -> int | None:
        return min((most for most in (self.a.memory(), self.b.memory()) if most is not None), default=None)

    def growth(self) -> float:
        return min(self.a.growth(), self.b.growth())

    def __repr__(self) -> str:
        return f"{_bracketed(self.a, (Either,))} & {_bracketed(self.b, (Either, Both))}"


class Either(Pattern):
    """a | b: the pairs in one or in both."""

    a: Pattern = Every()
    "One pattern."
    b: Pattern = Every()
    "The other."

    def needs_length(self) -> bool:
        return self.a.needs_length() or self.b.needs_length()

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.a.mask(q_idx, k_idx) | self.b.mask(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        (some, every), (some_b, every_b) = (side.bounds(q_lo, q_hi, k_lo, k_hi) for side in (self.a, self.b))
        return some | some_b, every | every_b

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        return Either(*(side.resolve(length=length, causal=causal) for side in (self.a, self.b)))

    def causal_form(self) -> Pattern:
        return Either(self.a.causal_form(), self.b.causal_form())

    def at_layer(self, layer: int) -> Pattern:
        return Either(self.a.at_layer(layer), self.b.at_layer(layer))

    def folded(self, length: int) -> Fold | None:
        """Return an order that suits both sides."""
        a, b = self.a.folded(length), self.b.folded(length)
        return Fold(a.key, a.order_c) if a is not None and b is not None and a.key == b.key else None

    def fits(self, length: int) -> None:
        self.a.fits(length)
        self.b.fits(length)

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
    "What is left out."

    def needs_length(self) -> bool:
        return self.of.needs_length()

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return ~self.of.mask(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        some, every = self.of.bounds(q_lo, q_hi, k_lo, k_hi)
        return ~every, ~some

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        outside = Outside(self.of.resolve(length=length, causal=causal))
        return Both(outside, Causal()) if causal else outside

    def causal_form(self) -> Pattern:
        return Both(Outside(self.of.causal_form()), Causal())

    def at_layer(self, layer: int) -> Pattern:
        return Outside(self.of.at_layer(layer))

    def fits(self, length: int) -> None:
        self.of.fits(length)

    def __repr__(self) -> str:
        return f"~{_bracketed(self.of, (Either, Both))}"


class _Intersection:
    """The pairs in both of two sets given in terms of places."""

    def __init__(self, a: PairMask, b: PairMask):
        self.a, self.b = a, b

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.a.mask(q_idx, k_idx) & self.b.mask(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        some, every = self.a.bounds(q_lo, q_hi, k_lo, k_hi)
        some_b, every_b = self.b.bounds(q_lo, q_hi, k_lo, k_hi)
        return some & some_b, every & every_b


def _bracketed(pattern: Pattern, kinds: tuple[type[Pattern], ...]) -> str:
    return f"({pattern})" if isinstance(pattern, kinds) else str(pattern)
