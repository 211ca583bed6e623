"""Attention to the few tokens of a memory that are most like each query."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.memory.fifo import Fifo
from formers.memory.key_lists import StoredKeys

_SCORES = 1 << 24
"""Scores that are there at once."""
FEWEST_IN_LISTS = 1 << 10
"""Keys below which all are compared, also where lists are asked for: these would cost more than they save."""


class Search(NamedTuple):
    """A memory, and which of it each query may look up.

    Attributes:
        memory: keys of length 1 and values, S of them.
        counts_bs, counts_bl: the number of real tokens up to each key, and up to each query, (B or 1, …).
        band: a query may look up those that are at least the first number of tokens before it, and fewer than the
            second.
        k: how many it looks up.
        stored: where keys in lists lie; None compares all.
    """

    memory: Fifo
    counts_bs: Tensor
    counts_bl: Tensor
    band: tuple[int, int]
    k: int
    stored: StoredKeys | None = None

    def allowed(self, start: int, stop: int) -> Tensor:
        """Return which keys the queries `start` … `stop` − 1 may look up, (B or 1, l, S)."""
        distance_bls = self.counts_bl[:, start:stop, None] - self.counts_bs[:, None]
        near, far = self.band
        allowed = (distance_bls >= near) & (distance_bls < far)
        return allowed if self.memory.mask_bs is None else allowed & self.memory.mask_bs[:, None]


class Lookup(NamedTuple):
    """What queries have looked up.

    Attributes:
        y_bhlv: the attention to it; zeros where there is nothing.
        any_b1l1: 1 where there is something, else 0, (B or 1, 1, L, 1).
    """

    y_bhlv: Tensor
    any_b1l1: Tensor


def look_up(q_bhlk: Tensor, search: Search, scale_h: Tensor) -> Lookup:
    """Return softmax_j(scale·q·k_j) v_j over the `search.k` keys with the largest q·k_j that each query may look up.

    No gradient reaches the memory. O(L·S·K) time, less with keys in lists, which find most of the k; memory for some of
    the scores at a time, and k·(K + V) numbers for each query and head.

    Args:
        q_bhlk: queries of length 1.
        scale_h: of each head.
    """
    repeat = q_bhlk.shape[1] // search.memory.k_bgsk.shape[1]
    with torch.no_grad():
        index_bhlm, valid_bhlm = _nearest(q_bhlk.detach(), search)
        keys, values = (_gathered(t, index_bhlm, repeat) for t in (search.memory.k_bgsk, search.memory.v_bgsv))
    s_bhlm = torch.einsum("bhlk,bhlmk->bhlm", q_bhlk, keys)
    s_bhlm = s_bhlm.to(torch.promote_types(s_bhlm.dtype, torch.float32)) * scale_h.view(1, -1, 1, 1)
    s_bhlm = s_bhlm.masked_fill(~valid_bhlm, torch.finfo(s_bhlm.dtype).min)
    w_bhlm = s_bhlm.softmax(-1).to(values.dtype)
    any_b1l1 = valid_bhlm[:, :1].any(-1, keepdim=True).to(values.dtype)
    return Lookup(torch.einsum("bhlm,bhlmv->bhlv", w_bhlm, values), any_b1l1)


def _nearest(q_bhlk: Tensor, search: Search) -> tuple[Tensor, Tensor]:
    """Return the nearest keys of every query, (B, H, L, k), and which of these there are.

    Keys in lists are those that all of these queries may look up; the others, some at both ends, are compared.
    """
    length, stored = q_bhlk.shape[2], search.stored
    if stored is None or search.memory.k_bgsk.shape[2] < FEWEST_IN_LISTS:
        near_bhlm, index_bhlm = _compared(q_bhlk, search)
        return index_bhlm, near_bhlm > -torch.inf
    in_lists_bs = (search.allowed(0, 1) & search.allowed(length - 1, length))[:, 0]
    found = [stored.search(q_bhlk, in_lists_bs, search.k)] if bool(in_lists_bs.any()) else []
    ends_s = (~in_lists_bs).any(0).nonzero().squeeze(1)
    if len(ends_s):
        found.append(_compared(q_bhlk, search, ends_s, in_lists_bs))
    near_bhlm, order_bhlm = torch.cat([near for near, _ in found], 3).topk(
        min(search.k, search.memory.k_bgsk.shape[2]), dim=-1
    )
    return torch.cat([index for _, index in found], 3).gather(3, order_bhlm), near_bhlm > -torch.inf


def _compared(
    q_bhlk: Tensor, search: Search, some_s: Tensor | None = None, but_bs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the largest products of every query, (B, H, L, ≤ k), and which keys, by comparing all.

    Args:
        some_s: keys to compare; None for all.
        but_bs: keys to leave out, (B or 1, S).
    """
    k_bgsk = search.memory.k_bgsk if some_s is None else search.memory.k_bgsk.index_select(2, some_s)
    batch, heads, length, _ = q_bhlk.shape
    keys = k_bgsk.shape[2]
    rows = length if torch.compiler.is_compiling() else max(1, _SCORES // max(1, batch * heads * keys))
    q_bgrlk = q_bhlk.unflatten(1, (k_bgsk.shape[1], -1))
    found = []
    for start in range(0, length, rows):
        stop = min(start + rows, length)
        s_bhls = (q_bgrlk[:, :, :, start:stop] @ k_bgsk.unsqueeze(2).mT).flatten(1, 2)
        allowed_bls = search.allowed(start, stop)
        allowed_bls = allowed_bls if but_bs is None else allowed_bls & ~but_bs.unsqueeze(1)
        allowed_bls = allowed_bls if some_s is None else allowed_bls.index_select(2, some_s)
        found.append(s_bhls.masked_fill_(~allowed_bls.unsqueeze(1), -torch.inf).topk(min(search.k, keys), dim=-1))
    near_bhlm, index_bhlm = (torch.cat(part, 2) for part in zip(*found, strict=True))
    return near_bhlm, index_bhlm if some_s is None else some_s[index_bhlm]


def _gathered(t_bgsk: Tensor, index_bhlm: Tensor, repeat: int) -> Tensor:
    """Return the keys or values at these places, (B, H, L, k, K); `repeat` query heads share a head of them."""
    width = t_bgsk.shape[3]
    index_bgnk = index_bhlm.unflatten(1, (-1, repeat)).flatten(2).unsqueeze(-1).expand(-1, -1, -1, width)
    return t_bgsk.gather(2, index_bgnk).view(*index_bhlm.shape, width)
