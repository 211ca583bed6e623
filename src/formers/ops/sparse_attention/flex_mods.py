"""The functions by which FlexAttention sees a pattern, masks and biases, one pair of places at a time.

They are closures over tensors and numbers. A new closure of the same function, over tensors of the same shapes, is the
same to the compiler: nothing is compiled anew from call to call.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from formers.ops.common.flex_kernel import MaskMod, ScoreMod
from formers.ops.sparse_attention.flex_tiles import PairTest
from formers.ops.sparse_attention.pair_bias import OfPair


def pattern_mod(tests: Sequence[PairTest], which_h: Sequence[int], offset: int) -> MaskMod:
    """Return the pairs of the patterns, head h having that of number which_h[h]; query 0 is token `offset`."""
    turn = len(which_h) if any(which_h) else 1
    first, others = tests[which_h[0]], [(h, tests[n]) for h, n in enumerate(which_h) if n != which_h[0]]

    def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        token = q + offset if offset >= 0 else (q + offset).clamp(min=0)
        found = first(token, k)
        for head, test in others:
            found = torch.where(h % turn == head, test(token, k), found)
        return found if offset >= 0 else found & (q + offset >= 0)

    return seen


def with_global_mod(seen: MaskMod, global_bs: Tensor, offset: int, causal: bool) -> MaskMod:
    """Return the pairs, and those of the global tokens of each sequence."""

    def seen_or_global(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        token = q + offset
        either = global_bs[b, token.clamp(min=0)] | global_bs[b, k]
        either = either & (k <= token) if causal else either & (token >= 0)
        return seen(b, h, q, k) | either

    return seen_or_global


def score_mod(key_mask_bs: Tensor | None, of_pair: OfPair | None, order_c: Tensor | None) -> ScoreMod | None:
    """Return what is done to scores: a bias added, and −inf at masked keys; None where nothing is.

    Masked keys are no matter of the pairs, so that the tiles of a pattern serve every batch.

    Args:
        order_c: the token at each place, where places are not tokens; the masks are in terms of places.
    """
    if of_pair is None:
        return None if key_mask_bs is None else _hide(key_mask_bs)
    add = _add(of_pair if order_c is None else _of_places(of_pair, order_c))
    if key_mask_bs is None:
        return add
    hide = _hide(key_mask_bs)
    return lambda score, b, h, q, k: hide(add(score, b, h, q, k), b, h, q, k)


def _hide(key_mask_bs: Tensor) -> ScoreMod:
    return lambda score, b, h, q, k: torch.where(key_mask_bs[b, k], score, -torch.inf)


def _add(of_pair: OfPair) -> ScoreMod:
    return lambda score, b, h, q, k: score + of_pair(b, h, q, k)


def _of_places(of_pair: OfPair, order_c: Tensor) -> OfPair:
    """Return the bias of places, given that of tokens; that of places without one does not matter."""
    return lambda b, h, q, k: of_pair(b, h, order_c[q].clamp(min=0), order_c[k].clamp(min=0))
