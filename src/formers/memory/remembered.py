"""Tokens that a memory holds: the inputs that a mixer had for them, of which it makes keys and values again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Tensor

from formers.mixers.cached_attention import CachedAttention
from formers.mixers.context import Context
from formers.mixers.kv_cache import KeyValueState, same_rows


class Remembered(NamedTuple):
    """Some tokens of each row, the earliest first.

    Attributes:
        x_bmd: what the mixer was given for them, (B, M, D), with the position that acts on its input.
        positions_bm: position of each, (B or 1, M).
        mask_bm: which of them there are, (B, M); None = all.
        used_bm: the attention that each has had, (B, M), float32; None where nobody asks.
        k_bgmk, v_bgmv: their keys and values, (B, G, M, K) and (B, G, M, V), where no gradients are wanted; None where
            they are made again. v is None as well where the keys are the values.
    """

    x_bmd: Tensor
    positions_bm: Tensor
    mask_bm: Tensor | None = None
    used_bm: Tensor | None = None
    k_bgmk: Tensor | None = None
    v_bgmv: Tensor | None = None

    @property
    def size(self) -> int:
        """M, with what is missing in some rows."""
        return self.x_bmd.shape[1]

    @classmethod
    def of(cls, context: Context, k_bglk: Tensor, v_bglv: Tensor) -> Self:
        """Return the new tokens of a mixing step, cut off from the graph; with keys and values if without gradients."""
        new = cls(context.x_bld.detach(), context.positions_bl, context.mask_bl)
        return new if torch.is_grad_enabled() else new.with_keys(k_bglk, v_bglv)

    def with_keys(self, k_bgmk: Tensor, v_bgmv: Tensor) -> Self:
        """Return the same tokens with their keys and values."""
        return self._replace(k_bgmk=k_bgmk, v_bgmv=None if v_bgmv is k_bgmk else v_bgmv)

    def keys(self, mixer: CachedAttention) -> tuple[Tensor, Tensor]:
        """Return keys and values of the tokens, one tensor where the keys are the values."""
        if self.k_bgmk is not None and not torch.is_grad_enabled():
            return self.k_bgmk, self.k_bgmk if self.v_bgmv is None else self.v_bgmv
        return mixer.keys_values(Context(self.x_bmd, self.positions_bm, self.mask_bm))

    def followed_by(self, later: Remembered, most: int, seen: KeyValueState | None = None) -> Remembered:
        """Return these tokens and later ones, of all of them the last `most` of each row, in the dtype of the later.

        Keys and values are those at the end of `seen`, where it is given, and not copied again.
        """
        if self.mask_bm is not None or later.mask_bm is not None:
            return self.joined(later).last(most)
        forgotten = max(self.size + later.size - most, 0)  # without a copy of it
        if seen is None or self.k_bgmk is None or later.k_bgmk is None:
            return self.cut(slice(forgotten, None)).joined(later.cut(slice(-most, None)))
        old, new = (one._replace(k_bgmk=None, v_bgmv=None) for one in (self, later))
        both = old.cut(slice(forgotten, None)).joined(new.cut(slice(-most, None)))
        k, v = (None if t is None else _end_of(t, both.size) for t in (seen.k_bgsk, seen.v_bgsv))
        return both._replace(k_bgmk=k, v_bgmv=v)

    def joined(self, later: Remembered) -> Remembered:
        """Return these tokens and later ones, in the dtype of those."""
        x_bmd = torch.cat([self.x_bmd.to(later.x_bmd.dtype), later.x_bmd], 1)
        positions_bm = torch.cat(same_rows(self.positions_bm, later.positions_bm), 1)
        mask_bm = None
        if self.mask_bm is not None or later.mask_bm is not None:
            mask_bm = torch.cat([self.real(), later.real()], 1)
        used_bm = _joined(self.used_bm, later.used_bm, 1)
        k, v = (_joined(one, other, 2) for one, other in zip(self[4:], later[4:], strict=True))
        return Remembered(x_bmd, positions_bm, mask_bm, used_bm, k, v)

    def last(self, most: int) -> Remembered:
        """Return the last `most` tokens of each row, padding not counted."""
        if isinstance(self.size, torch.SymInt):  # an exported length is left open: what would be cut off is masked
            from_end_bm = self.real().long().flip(1).cumsum(1).flip(1)
            return self._replace(mask_bm=self.real() & (from_end_bm <= most))
        return self if self.size <= most else self.real_last().cut(slice(-most, None)).owned()

    def real_last(self) -> Remembered:
        """Return the same tokens with all that is missing in front of what is there."""
        if self.mask_bm is None:
            return self
        return self.take(self.mask_bm.long().argsort(dim=1, stable=True))

    def take(self, index_bm: Tensor) -> Remembered:
        """Return the tokens of each row at these places, (B, M′)."""
        whole = self._replace(positions_bm=self.positions_bm.expand(self.x_bmd.shape[0], -1))
        return whole._each(
            lambda t: t.gather(1, index_bm.unsqueeze(2).expand(-1, -1, t.shape[2])),
            lambda t: t.gather(1, index_bm),
            lambda t: t.gather(2, index_bm[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3])),
        )

    def cut(self, kept: slice) -> Remembered:
        """Return some of the tokens, the same ones of each row."""
        return self._each(lambda t: t[:, kept], lambda t: t[:, kept], lambda t: t[:, :, kept])

    def owned(self) -> Remembered:
        """Return the same tokens in storage of their own, as large as they are."""
        return self._each(torch.clone, torch.clone, torch.clone)

    def real(self) -> Tensor:
        """Return which tokens there are, (B, M), also where all are."""
        return self.x_bmd.new_ones(self.x_bmd.shape[:2], dtype=torch.bool) if self.mask_bm is None else self.mask_bm

    def without(self, rows_b: Tensor) -> Remembered:
        """Return the same tokens, of which the rows that are True have none."""
        return self._replace(mask_bm=self.real() & ~rows_b.unsqueeze(1))

    def reorder(self, rows: Tensor) -> Remembered:
        """Return row `rows[i]` as row i; positions that all rows share stay as they are."""

        def pick(t: Tensor) -> Tensor:
            return t.index_select(0, rows.to(t.device))

        whole = self._replace(positions_bm=self.positions_bm.expand(self.x_bmd.shape[0], -1))
        picked = whole._each(pick, pick, pick)
        return picked._replace(positions_bm=self.positions_bm) if len(self.positions_bm) == 1 else picked

    def _each(
        self,
        of_inputs: Callable[[Tensor], Tensor],
        of_numbers: Callable[[Tensor], Tensor],
        of_heads: Callable[[Tensor], Tensor],
    ) -> Remembered:
        """Return the same with a change of tensors (B, M, D), of (B, M), and of (B, G, M, K)."""
        numbers = (None if t is None else of_numbers(t) for t in (self.mask_bm, self.used_bm))
        heads = (None if t is None else of_heads(t) for t in (self.k_bgmk, self.v_bgmv))
        return Remembered(of_inputs(self.x_bmd), of_numbers(self.positions_bm), *numbers, *heads)


def seen_together(
    mixer: CachedAttention, past: tuple[Remembered, ...], new: Remembered, k: Tensor, v: Tensor
) -> KeyValueState:
    """Return keys, values, mask and positions of what is remembered, the earliest first, and of the new tokens."""
    ks, vs = [], []
    for one in past:
        k_past, v_past = one.keys(mixer)
        ks.append(k_past.to(k.dtype))
        vs.append(ks[-1] if v_past is k_past else v_past.to(v.dtype))
    mask_bs = None
    if any(one.mask_bm is not None for one in (*past, new)):
        mask_bs = torch.cat([one.real() for one in (*past, new)], 1)
    return KeyValueState(
        seen_b=torch.zeros((), device=k.device),  # nothing goes on from here: the memory's state counts
        k_bgsk=torch.cat([*ks, k], 2),
        v_bgsv=None if v is k else torch.cat([*vs, v], 2),
        mask_bs=mask_bs,
        positions_bs=torch.cat(same_rows(*(one.positions_bm for one in (*past, new))), 1),
    )


def _end_of(t_bgsk: Tensor, count: int) -> Tensor:
    """Return the last tokens, as a view where it keeps not much more than these alive."""
    end = t_bgsk[:, :, -count:]
    return end if t_bgsk.shape[2] <= 2 * count else end.clone()


def _joined(old: Tensor | None, new: Tensor | None, dim: int) -> Tensor | None:
    return None if old is None or new is None else torch.cat([old.to(new.dtype), new], dim)
