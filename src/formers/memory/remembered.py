"""Tokens that a memory holds: the inputs that a mixer had for them, of which it makes keys and values again."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from formers.mixers.cached_attention import CachedAttention
from formers.mixers.context import Context
from formers.mixers.kv_cache import KeyValueState


class Remembered(NamedTuple):
    """Some tokens of each row, the earliest first, at consecutive places at the end of what came before.

    Attributes:
        x_bmd: what the mixer was given for them, (B, M, D), with the position that acts on its input.
        positions_bm: position of each, (B or 1, M).
        mask_bm: which of them there are, (B, M); None = all.
        k_bgmk, v_bgmv: their keys and values, (B, G, M, K) and (B, G, M, V), where no gradients are wanted; None where
            they are made again. v is None as well where the keys are the values.
    """

    x_bmd: Tensor
    positions_bm: Tensor
    mask_bm: Tensor | None = None
    k_bgmk: Tensor | None = None
    v_bgmv: Tensor | None = None

    @property
    def size(self) -> int:
        """M, with what is missing in some rows."""
        return self.x_bmd.shape[1]

    @classmethod
    def of(cls, context: Context, k_bglk: Tensor, v_bglv: Tensor) -> Self:
        """Return the new tokens of a mixing step, cut off from the graph; with keys and values if without gradients."""
        x_bld = context.x_bld.detach()
        if torch.is_grad_enabled():
            return cls(x_bld, context.positions_bl, context.mask_bl)
        return cls(x_bld, context.positions_bl, context.mask_bl, k_bglk, None if v_bglv is k_bglk else v_bglv)

    def keys(self, mixer: CachedAttention) -> tuple[Tensor, Tensor]:
        """Return keys and values of the tokens, one tensor where the keys are the values."""
        if self.k_bgmk is not None and not torch.is_grad_enabled():
            return self.k_bgmk, self.k_bgmk if self.v_bgmv is None else self.v_bgmv
        return mixer.keys_values(Context(self.x_bmd, self.positions_bm, self.mask_bm))

    def followed_by(self, later: Remembered, most: int) -> Remembered:
        """Return these tokens and later ones, of all of them the last `most` of each row, in the dtype of the later."""
        if self.mask_bm is None and later.mask_bm is None:  # without a copy of what is forgotten
            forgotten = max(self.size + later.size - most, 0)
            return self.cut(slice(forgotten, None))._before(later.cut(slice(-most, None)))
        return self._before(later).last(most)

    def last(self, most: int) -> Remembered:
        """Return the last `most` tokens of each row, padding not counted."""
        if isinstance(self.size, torch.SymInt):  # an exported length is left open: what would be cut off is masked
            index_bm = self.all_masked().long().flip(1).cumsum(1).flip(1)
            return self._replace(mask_bm=self.all_masked() & (index_bm <= most))
        if self.size <= most:
            return self
        last = self.real_last().cut(slice(-most, None))
        return Remembered(*(None if t is None else t.clone() for t in last))  # type: ignore[arg-type]

    def _before(self, later: Remembered) -> Remembered:
        positions = torch.cat(_same_rows(self.positions_bm, later.positions_bm), 1)
        mask_bm = None
        if self.mask_bm is not None or later.mask_bm is not None:
            mask_bm = torch.cat([self.all_masked(), later.all_masked()], 1)
        k, v = (_joined(one, other) for one, other in zip(self[3:], later[3:], strict=True))
        return Remembered(torch.cat([self.x_bmd.to(later.x_bmd.dtype), later.x_bmd], 1), positions, mask_bm, k, v)

    def real_last(self) -> Remembered:
        """Return the same tokens with all that is missing in front of what is there."""
        if self.mask_bm is None:
            return self
        order_bm = self.mask_bm.long().argsort(dim=1, stable=True)
        x_bmd = self.x_bmd.gather(1, order_bm.unsqueeze(2).expand_as(self.x_bmd))
        k, v = (None if t is None else _in_order(t, order_bm) for t in self[3:])
        positions_bm = self.positions_bm.expand_as(order_bm).gather(1, order_bm)
        return Remembered(x_bmd, positions_bm, self.mask_bm.gather(1, order_bm), k, v)

    def cut(self, kept: slice) -> Remembered:
        """Return some of the tokens, the same ones of each row."""
        mask_bm = None if self.mask_bm is None else self.mask_bm[:, kept]
        k, v = (None if t is None else t[:, :, kept] for t in self[3:])
        return Remembered(self.x_bmd[:, kept], self.positions_bm[:, kept], mask_bm, k, v)

    def all_masked(self) -> Tensor:
        """Return which tokens there are, (B, M), also where all are."""
        return self.x_bmd.new_ones(self.x_bmd.shape[:2], dtype=torch.bool) if self.mask_bm is None else self.mask_bm

    def without(self, rows_b: Tensor) -> Remembered:
        """Return the same tokens, of which the rows that are True have none."""
        return self._replace(mask_bm=self.all_masked() & ~rows_b.unsqueeze(1))

    def reorder(self, rows: Tensor) -> Remembered:
        """Return row `rows[i]` as row i; positions that all rows share stay as they are."""
        picked = [None if t is None else t.index_select(0, rows.to(t.device)) for t in (self.x_bmd, *self[2:])]
        shared = len(self.positions_bm) == 1
        positions_bm = self.positions_bm if shared else self.positions_bm.index_select(0, rows.to(rows.device))
        return Remembered(picked[0], positions_bm, *picked[1:])  # type: ignore[arg-type]


def seen_together(
    mixer: CachedAttention, past: tuple[Remembered, ...], new: Remembered, k: Tensor, v: Tensor
) -> KeyValueState:
    """Return keys, values, mask and positions of what is remembered, the earliest first, and of the new tokens."""
    ks, vs = [], []
    for one in past:
        k_past, v_past = one.keys(mixer)
        ks.append(k_past.to(k.dtype))
        vs.append(ks[-1] if v_past is k_past else v_past.to(v.dtype))
    all_k = torch.cat([*ks, k], 2)
    all_v = None if v is k else torch.cat([*vs, v], 2)
    mask_bs = None
    if any(one.mask_bm is not None for one in (*past, new)):
        mask_bs = torch.cat([one.all_masked() for one in (*past, new)], 1)
    positions_bs = torch.cat(_same_rows(*(one.positions_bm for one in (*past, new))), 1)
    seen_b = torch.zeros((), device=k.device)
    return KeyValueState(seen_b, all_k, all_v, mask_bs, positions_bs)


def _same_rows(*positions: Tensor) -> list[Tensor]:
    """Return positions of tokens behind each other with one row each, if all rows share them, or one for each."""
    if len(positions) == 1:
        return list(positions)
    rows = max(one.shape[0] for one in positions)
    return [one.expand(rows, -1) for one in positions]


def _joined(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    return None if old is None or new is None else torch.cat([old.to(new.dtype), new], 2)


def _in_order(t_bgmk: Tensor, order_bm: Tensor) -> Tensor:
    return t_bgmk.gather(2, order_bm[:, None, :, None].expand_as(t_bgmk))
