"""Attention under a relation: weights are formed, for one block of query rows at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.attention.by_distance import attention_by_distance
from formers.ops.attention.distance_terms import DistanceTerms
from formers.ops.attention.query_blocks import run_blocks
from formers.ops.attention.relation import Relation


def related_attention(
    q_bhlk: Tensor,
    k_bgsk: Tensor,
    v_bgsv: Tensor,
    causal: bool,
    key_mask_bs: Tensor | None,
    relation: Relation,
    terms: DistanceTerms | None,
    scale: float,
) -> Tensor:
    """Return softmax(scores(queries(q) kᵀ·scale)) v + outputs(weights), zeros where a row sees no key.

    O(LSK) time. Memory for the weights of one block of rows, which are made again in the backward pass instead of kept.
    Relations that are given as terms by distance, too, take kernels of their own.
    """
    rows, keys = q_bhlk.shape[2], k_bgsk.shape[2]
    if key_mask_bs is not None:
        real = key_mask_bs[:, None, :, None]
        k_bgsk, v_bgsv = k_bgsk.where(real, 0), v_bgsv.where(real, 0)
    every_query_sees_keys = key_mask_bs is None and not (causal and rows > keys)
    if terms is not None and (terms.values_hnv is None or every_query_sees_keys):
        return attention_by_distance(
            relation.queries(q_bhlk), k_bgsk, v_bgsv, terms, causal=causal, key_mask_bs=key_mask_bs, scale=scale
        )

    def block(start: int, stop: int, q_bhlk: Tensor, k_bgsk: Tensor, v_bgsv: Tensor) -> Tensor:
        end = max(keys - rows + stop, 0) if causal else keys
        k_bgsk, v_bgsv = k_bgsk[:, :, :end], v_bgsv[:, :, :end]
        s_bhls = relation.scores(_product(relation.queries(q_bhlk) * scale, k_bgsk.mT), q_bhlk, k_bgsk, start)
        if causal and stop - start > 1:
            _hide_later_keys(s_bhls)
        w_bhls = _weights(s_bhls, None if key_mask_bs is None else key_mask_bs[:, None, None, :end]).to(v_bgsv.dtype)
        y_bhlv, more_bhlv = _product(w_bhls, v_bgsv), relation.outputs(w_bhls, start)
        return y_bhlv if more_bhlv is None else y_bhlv + more_bhlv

    return run_blocks(block, q_bhlk, k_bgsk, v_bgsv, scores_a_row=keys * q_bhlk.shape[0] * q_bhlk.shape[1])


def _product(a_bhlm: Tensor, b_bgmn: Tensor) -> Tensor:
    """Return a b for every head of a, of which H/G neighbours share one of b."""
    heads, groups = a_bhlm.shape[1], b_bgmn.shape[1]
    if heads == groups:
        return a_bhlm @ b_bgmn
    together = a_bhlm.unflatten(1, (groups, heads // groups)).flatten(2, 3) @ b_bgmn
    return together.unflatten(2, (heads // groups, -1)).flatten(1, 2)


def _hide_later_keys(s_bhls: Tensor) -> None:
    """Hide from every row the keys behind its own, of which the last row's is the last: a triangle at the end."""
    rows, keys = s_bhls.shape[2:]
    size = min(rows, keys)
    later = torch.ones(rows, size, dtype=torch.bool, device=s_bhls.device).triu(size - rows + 1)
    s_bhls[..., keys - size :].masked_fill_(later, -torch.inf)


def _weights(s_bhls: Tensor, seen_b11s: Tensor | None) -> Tensor:
    """Return the softmax over the keys that are seen, in float32 or wider; zeros where a row sees none."""
    s_bhls = s_bhls.to(torch.promote_types(s_bhls.dtype, torch.float32))
    if seen_b11s is None and s_bhls.shape[2] <= s_bhls.shape[3]:
        return s_bhls.softmax(-1)
    if seen_b11s is not None:
        s_bhls = s_bhls.masked_fill(~seen_b11s, -torch.inf)
    empty = (s_bhls == -torch.inf).all(-1, keepdim=True)
    return s_bhls.masked_fill(empty, 0).softmax(-1).masked_fill(empty, 0)
