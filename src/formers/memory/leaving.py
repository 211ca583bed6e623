"""Tokens that leave a memory because there are too many, in groups."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.memory.compressors import Compressor
from formers.memory.remembered import Remembered


class Leaving(NamedTuple):
    """Groups of tokens that leave, the earliest first, each with what a compressor looks at.

    Attributes:
        x_bnwd: (B, N, W, D).
        used_bnw: the attention that each has had, (B, N, W), where it is counted.
        mask_bn: which groups there are, (B, N); None = all.
    """

    x_bnwd: Tensor
    used_bnw: Tensor | None
    mask_bn: Tensor | None


def leaving(held: Remembered, length: int, compressor: Compressor) -> tuple[Leaving | None, Remembered]:
    """Return the groups of `rate` tokens that leave so that at least `length` stay, None without any; and what stays.

    Of a row that has M tokens ⌊(M − length)/rate⌋ groups leave, and M − rate·⌊(M − length)/rate⌋ tokens stay.
    """
    rate, window = compressor.rate, compressor.window
    groups = max(held.size - length, 0) // rate
    if not groups:
        return None, held
    if held.mask_bm is None:
        return _windows(held.cut(slice(groups * rate + window - rate)), rate, window), (
            held.cut(slice(groups * rate, None)).owned()
        )
    return _of_each_row(held.real_last(), length, groups, rate, window)


def _of_each_row(
    held: Remembered, length: int, groups: int, rate: int, window: int
) -> tuple[Leaving | None, Remembered]:
    """Return the same where rows have different numbers of tokens, the last of each at the end."""
    real_bm = held.real()
    count_b1 = real_bm.long().sum(1, keepdim=True)
    gone_b1 = (count_b1 - length).clamp(min=0) // rate
    first_b1 = held.size - count_b1
    place_e = torch.arange(groups * rate + window - rate, device=real_bm.device)
    index_be = first_b1 + place_e - (groups - gone_b1) * rate  # the last group of each row is the last of all
    gone = _windows(held.take(index_be.clamp(0, held.size - 1)), rate, window)
    mask_bn = torch.arange(groups, device=real_bm.device) >= groups - gone_b1
    stays_bm = torch.arange(held.size, device=real_bm.device) >= first_b1 + gone_b1 * rate
    kept = held._replace(mask_bm=stays_bm & real_bm).cut(slice(-(length + rate - 1), None)).owned()
    return gone._replace(mask_bn=mask_bn), kept


def _windows(tokens: Remembered, rate: int, window: int) -> Leaving:
    """Return every `rate`-th window of the tokens."""
    used_bnw = None if tokens.used_bm is None else tokens.used_bm.unfold(1, window, rate)
    return Leaving(tokens.x_bmd.unfold(1, window, rate).transpose(2, 3), used_bnw, None)
