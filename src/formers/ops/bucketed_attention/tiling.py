"""The order in which buckets lie, cut into tiles, and a number per token from which it follows which pairs meet."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Tiling(NamedTuple):
    """N heads (of all sequences of a batch), sorted by bucket in each of R rounds and cut into tiles of T tokens.

    L is a multiple of T here; C counts the places of the sorted sequence, an empty tile in front included.

    Attributes:
        order_rnc: the token at each place, counted through the tokens of all heads.
        place_rnl: the place of each token: the inverse.
        u_pnc: i meets j in a round where 0 ≤ u_i − u_j ≤ reach. For round r in the order of r, after those of all
            earlier rounds in the order of r: p = r(r+1)/2 + (0 … r).
        reach: see there.
        tile: T.
        back: how many tiles before its own a token may reach into, 1 or 2.
        self_last, scale: as in `bucketed_attention`.
    """

    order_rnc: Tensor
    place_rnl: Tensor
    u_pnc: Tensor
    reach: float
    tile: int
    back: int
    self_last: bool
    scale: float

    def of_heads(self, heads: slice) -> Tiling:
        """Return the tiling of some of the heads. Their tokens are still counted through all."""
        order, place, u = (t[:, heads] for t in self[:3])
        return self._replace(order_rnc=order, place_rnl=place, u_pnc=u)


def tiling(bucket_nrl: Tensor, chunk: int, back: int, causal: bool, self_last: bool, scale: float) -> Tiling:
    """Return the tiling of tokens in buckets (N, R, L), with chunk/back tokens a tile."""
    heads, rounds, length = bucket_nrl.shape
    tile, at = chunk // back, torch.arange(length, device=bucket_nrl.device)
    ordered, order = bucket_nrl.transpose(0, 1).contiguous().sort(dim=2, stable=True)
    place = torch.empty_like(order).scatter_(2, order, at.expand_as(order))
    reach, base = (chunk, at) if causal else (1, at // chunk)
    nth_bucket = pad((ordered[..., 1:] != ordered[..., :-1]).long().cumsum(2), (1, 0))
    exact = torch.float32 if length * (chunk + 2) < 1 << 22 else torch.float64
    u = (base + (reach + 1) * nth_bucket).to(exact)  # buckets lie further apart than the reach
    u = u.gather(2, place)
    u_pairs = torch.cat([u[: r + 1].gather(2, order[r].expand(r + 1, -1, -1)) for r in range(rounds)])
    first = torch.arange(0, heads * length, length, device=order.device).unsqueeze(1)
    order, place, u_pairs = pad(order, (tile, 0)) + first, place + tile, pad(u_pairs, (tile, 0), value=-1.0 - reach)
    return Tiling(order, place, u_pairs, float(reach), tile, back, self_last, scale)
