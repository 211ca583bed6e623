"""A pattern as tiles of queries and keys, for FlexAttention: derived from its bounds, never as an L×S mask.

The pattern is asked for bounds on tiles, and for its mask only in those that the bounds leave open. Tiles without a
pair are skipped by the kernel, and in tiles that are wholly pairs it asks no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from formers.ops.common.flex_kernel import TILE
from formers.ops.sparse_attention.pairs import PairMask, Pairs, Reordered

_PAIRS_AT_ONCE = 1 << 22
"""Tiles whose bounds are asked for, and pairs whose mask is evaluated, at once."""
_FOLD_BELOW = 0.7
"""Tokens are reordered where that leaves fewer than this share of the tiles: a gather of q, k, v and y costs, too."""

PairTest: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""True where query i sees key j, for indices that broadcast."""


@dataclass(frozen=True, eq=False)
class TileMap:
    """The tiles of a pattern.

    Attributes:
        some_nm: tiles with a pair, (query tiles, key tiles).
        every_nm: tiles that are wholly pairs.
        test: the pairs of single places, reading tensors on the device alone.
        order_c: the token at each place, −1 where there is none; None where places are tokens.
    """

    some_nm: Tensor
    every_nm: Tensor
    test: PairTest
    order_c: Tensor | None = None

    @property
    def count(self) -> int:
        """The number of tiles that are computed."""
        return int(self.some_nm.sum())


def tile_map(
    pattern: Pairs, rows: int, keys: int, causal: bool, device: torch.device, may_fold: bool = True
) -> TileMap:
    """Return the tiles of a pattern for `rows` queries, the last of which stands at the last of `keys` keys.

    Tokens are reordered where the pattern has an order in which its pairs fill far fewer tiles, and `may_fold`.
    """
    known = pattern.resolve(length=keys, causal=causal)
    plain = _tiles_of(known, rows, keys, known.mask_on(device), device)
    fold = known.folded(keys) if may_fold and rows == keys else None
    if fold is None:
        return plain
    order_c = fold.order_c.to(device)
    inner = fold.pairs or Reordered(known, fold.order_c)
    test = inner.mask_on(device)
    if bool((fold.order_c < 0).any()):
        test = _without_holes(test, order_c)
    places = len(order_c)
    folded = _tiles_of(inner, places, places, test, device)
    return (
        TileMap(folded.some_nm, folded.every_nm, test, order_c) if folded.count < _FOLD_BELOW * plain.count else plain
    )


def _without_holes(test: PairTest, order_c: Tensor) -> PairTest:
    """Return the test without keys at places that have no token."""
    return lambda q_idx, k_idx: test(q_idx, k_idx) & (order_c[k_idx] >= 0)


def _tiles_of(pairs: PairMask, rows: int, keys: int, test: PairTest, device: torch.device) -> TileMap:
    """Return the tiles of pairs of places."""
    k_lo = torch.arange(0, keys, TILE)
    k_hi = (k_lo + TILE - 1).clamp(max=keys - 1)
    q_lo = torch.arange(0, rows, TILE) + keys - rows
    q_hi = (q_lo + TILE - 1).clamp(max=keys - 1)
    somes, everies = [], []
    for strip in torch.arange(len(q_lo)).split(max(_PAIRS_AT_ONCE // len(k_lo), 1)):
        lo, hi = q_lo[strip, None], q_hi[strip, None]
        some, every = pairs.bounds(lo.clamp(min=0), hi.clamp(min=0), k_lo[None, :], k_hi[None, :])
        whole = (lo >= 0) & (hi - lo == TILE - 1) & (k_hi - k_lo == TILE - 1)[None, :]
        somes.append((some & (hi >= 0)).expand(len(strip), len(k_lo)))
        everies.append((every & whole).expand(len(strip), len(k_lo)))
    some_nm, every_nm = torch.cat(somes).to(device), torch.cat(everies).to(device)
    for tiles in _open_tiles(some_nm & ~every_nm):
        q_idx = q_lo.to(device)[tiles[:, 0], None, None] + torch.arange(TILE, device=device)[:, None]
        k_idx = k_lo.to(device)[tiles[:, 1], None, None] + torch.arange(TILE, device=device)
        there = (q_idx >= 0) & (q_idx < keys) & (k_idx < keys)
        seen = test(q_idx.clamp(0, keys - 1), k_idx.clamp(max=keys - 1)) & there
        some_nm[tiles.unbind(1)], every_nm[tiles.unbind(1)] = seen.any(2).any(1), seen.all(2).all(1)
    return TileMap(some_nm, every_nm, test)


def _open_tiles(open_nm: Tensor) -> Iterator[Tensor]:
    """Yield the tiles that bounds leave open, as many at once, (some, 2), as memory allows."""
    yield from open_nm.nonzero().split(_PAIRS_AT_ONCE // TILE**2)
