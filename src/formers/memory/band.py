"""Attention to the nearest tokens alone: what is farther away is hidden from the scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from formers.ops import Bias, Relation


def counts_of(mask_bs: Tensor | None, k_bgsk: Tensor) -> Tensor:
    """Return the number of real tokens up to each, (B or 1, S), of these keys (B, G, S, K)."""
    if mask_bs is None:
        return torch.arange(k_bgsk.shape[2], device=k_bgsk.device).unsqueeze(0)
    return mask_bs.long().cumsum(1)


def banded(bias: Bias, counts_bs: Tensor, queries: int, width: int) -> Bias:
    """Return a bias that also hides all but the last `width` tokens up to each query, itself included.

    Args:
        bias: what is added to the scores beside.
        counts_bs: the number of real tokens up to each key, (B or 1, S); the last `queries` keys are the queries' own.
    """
    counts_bl = counts_bs[:, counts_bs.shape[1] - queries :]

    def hidden(start: int, stop: int, keys: int) -> Tensor:
        distance_bls = counts_bl[:, start:stop, None] - counts_bs[:, None, :keys]
        return (distance_bls >= width).unsqueeze(1)

    if isinstance(bias, Relation):
        return _BandRelation(bias, hidden)

    def rows(start: int, stop: int) -> Tensor:
        far = hidden(start, stop, counts_bs.shape[1])
        added = bias(start, stop) if callable(bias) else torch.zeros((), device=far.device)
        return torch.where(far, -torch.inf, added)

    assert bias is None or callable(bias), "positions on scores give functions or relations"
    return rows


class _BandRelation(Relation):
    """A relation of which far pairs are hidden."""

    def __init__(self, inner: Relation, hidden: Callable[[int, int, int], Tensor]):
        self.inner, self.hidden = inner, hidden

    def queries(self, q_bhlk: Tensor) -> Tensor:
        return self.inner.queries(q_bhlk)

    def scores(self, s_bhls: Tensor, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        changed = self.inner.scores(s_bhls, q_bhlk, k_bgsk, start)
        return changed.masked_fill(self.hidden(start, start + changed.shape[2], changed.shape[3]), -torch.inf)

    def outputs(self, w_bhls: Tensor, start: int) -> Tensor | None:
        return self.inner.outputs(w_bhls, start)
