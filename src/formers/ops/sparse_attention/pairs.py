"""The protocol between sparse attention and patterns: sets of (query, key) pairs, and orders that fold them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class PairMask(Protocol):
    """A set of (query, key) pairs, as a test of single pairs and of whole rectangles."""

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        """Return True where query i sees key j, for token indices that broadcast.

        It is FlexAttention's `mask_mod` without its b and h.
        """

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        """Return, for the pairs [q_lo, q_hi] × [k_lo, k_hi], whether any may be in, and whether surely all are."""

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        """Return `mask` as a function for kernels that compile it.

        It is arithmetic on the indices, and reads tensors on this device alone, at single places.
        """


class Pairs(PairMask, Hashable, Protocol):
    """A set of pairs that kernels can prepare for: patterns. Equal options are equal sets and hash alike."""

    def resolve(self, *, length: int, causal: bool) -> Pairs:
        """Return the same set for a known number of tokens, and without what lies in the future when causal."""

    def folded(self, length: int) -> Fold | None:
        """Return an order of the tokens in which the pairs lie closer together, or None where there is none."""

    def at_layer(self, layer: int) -> Pairs:
        """Return the set in one layer of a model: layers look up other tables, and compute alike."""

    def number(self) -> int:
        """Return the number of the set in this process, which equal sets share (`numbers.py`), in compiled code too."""

    def fits(self, length: int) -> None:
        """Raise `ValueError` for more tokens than the pattern makes sense for."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Tokens in another order.

    Attributes:
        key: equal for equal orders.
        order_c: the token at each place, −1 where there is none.
        pairs: the pattern in terms of places. None: ask the pattern itself about the tokens there.
    """

    key: tuple[int | str, ...]
    order_c: Tensor
    pairs: PairMask | None = None


def every_nth(length: int, step: int) -> Tensor:
    """Return the order 0, step, 2·step, …, 1, 1 + step, …, with −1 where a residue has a token less than others."""
    count = -(-length // step)
    order_c = (torch.arange(count)[None, :] * step + torch.arange(step)[:, None]).flatten()
    return order_c.masked_fill(order_c >= length, -1)


class Reordered:
    """A pattern in terms of places: place c stands for token `order[c]`."""

    def __init__(self, pairs: PairMask, order_c: Tensor):
        self.pairs, self.order_c = pairs, order_c

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.pairs.mask(self.order_c[q_idx], self.order_c[k_idx])

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return self.pairs.bounds(*self.range_of(q_lo, q_hi), *self.range_of(k_lo, k_hi))

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        inner, order_c = self.pairs.mask_on(device), self.order_c.to(device)
        return lambda q_idx, k_idx: inner(order_c[q_idx], order_c[k_idx])

    def range_of(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        """Return the least and the greatest token at the places lo … hi; holes count for nothing."""
        least, most = [], []
        for a, b in zip(lo.flatten().tolist(), hi.flatten().tolist(), strict=True):
            there = self.order_c[a : b + 1]
            there = there[there >= 0]
            least.append(int(there.min()) if len(there) else 0)
            most.append(int(there.max()) if len(there) else -1)
        return torch.tensor(least).view(lo.shape), torch.tensor(most).view(hi.shape)
