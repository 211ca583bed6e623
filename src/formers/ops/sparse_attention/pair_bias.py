"""The bias of single pairs of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

OfPair: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""`of_pair(b, h, q, k)`: what is added to the score of a pair of places, in head h of sequence b of a batch."""


@dataclass(frozen=True, eq=False)
class PairBias:
    """A bias that is made for the pairs that are asked for, so that the whole (B, H, L, S) never exists.

    Attributes:
        function: `function(b, q_nl, k_ns)` returns what is added to the scores of sequence b of the batch between
            queries (n, l) and keys (n, s), given by their places in q and k: (n, H or 1, l, s).
        depends_on: every tensor that the function reads and that may want a gradient; a tensor that is not listed gets
            none.
        by_pair: returns a function `of_pair(b, h, q, k)` that gives the same for single pairs, for kernels that compile
            it: arithmetic on the indices of sequence, head, query and key, which broadcast, and on what tensors hold at
            single places. None where the bias cannot be made so; such kernels are passed over then.
    """

    function: Callable[[int, Tensor, Tensor], Tensor]
    depends_on: tuple[Tensor, ...]
    by_pair: Callable[[], OfPair] | None = None

    def __call__(self, b: int, q_nl: Tensor, k_ns: Tensor) -> Tensor:
        """Return the bias of the pairs of sequence b, (n, H or 1, l, s)."""
        return self.function(b, q_nl, k_ns)

    @property
    def requires_grad(self) -> bool:
        """True if a gradient must reach a tensor that the bias depends on."""
        return any(t.requires_grad for t in self.depends_on)

    def of_sequence(self, b: int) -> PairBias:
        """Return the bias of one sequence of the batch, as that of a batch of one."""
        by_pair = None if self.by_pair is None else _of_sequence(self.by_pair, b)
        return PairBias(lambda _, q_nl, k_ns: self.function(b, q_nl, k_ns), self.depends_on, by_pair)

    @classmethod
    def of_tensor(cls, bias: Tensor) -> PairBias:
        """Return the bias that picks its pairs from a tensor, which broadcasts to (B, H, L, S)."""
        whole = bias[(None,) * (4 - bias.dim())]

        def picked(b: int, q_nl: Tensor, k_ns: Tensor) -> Tensor:
            row = whole[b if len(whole) > 1 else 0]
            q_at = q_nl if row.shape[1] > 1 else torch.zeros_like(q_nl)
            k_at = k_ns if row.shape[2] > 1 else torch.zeros_like(k_ns)
            return row[:, q_at[:, :, None], k_at[:, None, :]].transpose(0, 1)

        batch, heads, rows, keys = (size > 1 for size in whole.shape)

        def of_pair(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            return whole[b * batch, h * heads, q * rows, k * keys]

        return cls(picked, (bias,), lambda: of_pair)


def _of_sequence(by_pair: Callable[[], OfPair], b: int) -> Callable[[], OfPair]:
    """Return the bias of pairs of one sequence, as that of a batch of one."""

    def own() -> OfPair:
        of_pair = by_pair()
        return lambda zero, h, q, k: of_pair(zero + b, h, q, k)

    return own
