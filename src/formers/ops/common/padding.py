"""Padding: taking the real tokens of a padded batch together, and putting results back."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Packing(NamedTuple):
    """Where the real tokens of each row are, whether padding is left, right or in between.

    Attributes:
        source_bl: the position each packed token comes from: the real tokens in their order, then the others.
        place_bl: where each real token goes in the packed row (unused elsewhere).
        length_b: real tokens per row.
        mask_bl: the mask this was made from.
    """

    source_bl: Tensor
    place_bl: Tensor
    length_b: Tensor
    mask_bl: Tensor


def packing(mask_bl: Tensor) -> Packing:
    """The packing of a mask that is True where a token is real. O(L log L)."""
    source_bl = (~mask_bl).long().argsort(dim=1, stable=True)
    place_bl = (mask_bl.long().cumsum(1) - 1).clamp(min=0)
    return Packing(source_bl, place_bl, mask_bl.sum(1), mask_bl)


def unpad_input(x_bld: Tensor, pack: Packing) -> Tensor:
    """The real tokens of each row at its front, zeros behind. What padded positions held does not get through."""
    clean = x_bld.masked_fill(~pack.mask_bl[..., None], 0)
    return clean.gather(1, pack.source_bl[..., None].expand_as(x_bld))


def pad_input(y_bld: Tensor, pack: Packing) -> Tensor:
    """The inverse of `compact`: results back to where their tokens were, zeros at padded positions."""
    back = y_bld.gather(1, pack.place_bl[..., None].expand_as(y_bld))
    return back.masked_fill(~pack.mask_bl[..., None], 0)
