"""Padding: real tokens are taken to the front of each sequence, and results are put back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.ops.common.readable import can_read, read_once, require_data


class Packing(NamedTuple):
    """The places of the real tokens of each sequence, whether padding is left, right or in between.

    Attributes:
        source_bl: the position each packed token comes from: real tokens in their order, then the others.
        place_bl: where each real token goes in the packed sequence (unused elsewhere).
        length_b: real tokens per sequence.
        mask_bl: the mask this was made from.
    """

    source_bl: Tensor
    place_bl: Tensor
    length_b: Tensor
    mask_bl: Tensor


def packing(mask_bl: Tensor) -> Packing:
    """Return the packing of a mask that is True where a token is real. O(L log L), once for all layers."""
    made = _places(mask_bl) if torch.compiler.is_compiling() else read_once(mask_bl, "packing", _places)
    return Packing(*made, mask_bl)


def _places(mask_bl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    source_bl = (~mask_bl).long().argsort(dim=1, stable=True)
    return source_bl, (mask_bl.long().cumsum(1) - 1).clamp(min=0), mask_bl.sum(1)


def read_lengths(length_b: Tensor) -> list[int]:
    """Return the numbers of real tokens; reading them waits for the device, once for a packing."""
    return read_once(length_b, "lengths", lambda length_b: [int(n) for n in length_b.tolist()])


def unpad_input(x_bld: Tensor, pack: Packing) -> Tensor:
    """Return the real tokens of each sequence at its front, zeros behind.

    What padded positions hold, NaN too, does not get through.
    """
    clean = x_bld.masked_fill(~pack.mask_bl[..., None], 0)
    return clean.gather(1, pack.source_bl[..., None].expand_as(x_bld))


def pad_input(y_bld: Tensor, pack: Packing) -> Tensor:
    """Return results where their tokens were before `unpad_input`, zeros at padded positions.

    What stands behind the last real token of the longest sequence may be left out of `y_bld`.
    """
    back = y_bld.gather(1, pack.place_bl[..., None].expand(-1, -1, y_bld.shape[2]))
    return back.masked_fill(~pack.mask_bl[..., None], 0)


def check_lengths(length_b: Tensor, longest: int, what: str) -> None:
    """Raise ValueError for a sequence of more than `longest` real tokens; reading them waits for the device, once.

    A compiled graph raises RuntimeError where it runs; without data there is nothing to raise for.
    """
    if not can_read(length_b):
        require_data(length_b <= longest, ValueError(f"{what} is for up to {longest} tokens, but more were given"))
    elif (given := max(read_lengths(length_b), default=0)) > longest:
        raise ValueError(f"{what} is for up to {longest} tokens, but {given} were given")


def zero_masked(t_bhsx: Tensor, key_mask_bs: Tensor | None) -> Tensor:
    """Return heads (B, H, S, ·) with zeros where the mask (B, S) is False, whatever stood there."""
    return t_bhsx if key_mask_bs is None else t_bhsx.masked_fill(~key_mask_bs[:, None, :, None], 0)
