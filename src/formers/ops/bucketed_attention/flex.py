"""Attention inside buckets through torch's FlexAttention, which is made for GPUs.

Each round is a head of its own over the sorted tokens, where all pairs that meet lie near the diagonal: the kernel's
tiles follow from the lengths alone. Which pairs of a tile meet, it reads from the numbers u of `tiling`. Rounds are
merged by the sums of their weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.bucketed_attention.inputs import BucketedInputs
from formers.ops.bucketed_attention.special_scores import SELF_SCORE
from formers.ops.bucketed_attention.tiling import Tiling, tiling
from formers.ops.common.dtypes import accumulation_dtype
from formers.ops.common.flex_kernel import TILE, MaskMod, block_mask, flex_kernel, flex_reasons, in_tiles

_NO_BUCKET = 1 << 62
"""The bucket of tokens that nobody sees: the last, so that they change no other's place, and exact as a float."""


def unsupported_reasons(inputs: BucketedInputs) -> list[str]:
    """Return why FlexAttention cannot run on these inputs, a sentence each."""
    keys = inputs.q_bhlk if inputs.k_bhlk is None else inputs.k_bhlk
    return flex_reasons(inputs.q_bhlk, keys, inputs.v_bhlv, instead="torch")


def bucketed_attention(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    bucket_bhrl: Tensor,
    key_mask_bl: Tensor | None,
    chunk: int,
    causal: bool,
    self_last: bool,
    scale: float,
) -> Tensor:
    """Return the op of the same name. First derivatives alone, which impl="torch" does not end at.

    Lengths are rounded up to whole tiles, so that one compiled kernel serves 128 of them.
    """
    batch, heads, length, _ = q.shape
    chunk = min(chunk, length)
    if key_mask_bl is not None:
        bucket_bhrl = bucket_bhrl.masked_fill(~key_mask_bl[:, None, None], _NO_BUCKET)
    if added := -length % TILE:  # as tokens that a mask leaves out
        q, k, v = in_tiles(q), None if k is None else in_tiles(k), in_tiles(v)
        bucket_bhrl = pad(bucket_bhrl, (0, added), value=_NO_BUCKET)
    plan = tiling(bucket_bhrl.flatten(0, 1), chunk, 1, causal, self_last, scale)
    order_nrc = plan.order_rnc[:, :, plan.tile :].transpose(0, 1)
    q_nrck, k_nrck, v_nrcv = (t.flatten(0, 2)[order_nrc] for t in (q, _unit(q) if k is None else k, v))
    y_nrcv, lse_nrc = _with_lse(
        q_nrck,
        k_nrck,
        v_nrcv,
        (chunk, causal, self_last),
        block_mask=_near_diagonal(length + added, chunk, causal, _meet(plan), q.device),
        score_mod=_itself_last if self_last else None,
        scale=scale,
    )
    place_nrl = (plan.place_rnl - plan.tile).transpose(0, 1)
    y_nrlv = y_nrcv.gather(2, place_nrl.unsqueeze(3).expand(-1, -1, -1, v.shape[3]))
    share_nrl = lse_nrc.gather(2, place_nrl).softmax(1)
    y = (y_nrlv * share_nrl.unsqueeze(3)).sum(1).unflatten(0, (batch, heads))[:, :, :length].to(v.dtype)
    return y if key_mask_bl is None else y.masked_fill(~key_mask_bl[:, None, :, None], 0)


def _with_lse(q: Tensor, k: Tensor, v: Tensor, use: tuple[int, bool, bool], **options: Any) -> tuple[Tensor, Tensor]:
    """Return FlexAttention and the logarithm of the sum of weights, −inf where a query sees nothing."""
    from torch.nn.attention.flex_attention import AuxRequest  # here, because it imports the compiler

    y, aux = flex_kernel(q, k, v, ("buckets", *use), return_aux=AuxRequest(lse=True), **options)
    return y, aux.lse


def _unit(q: Tensor) -> Tensor:
    """Return q/|q|, finite where q = 0."""
    wide = q.to(accumulation_dtype(q.dtype))
    return (wide * (wide.square().sum(-1, keepdim=True) + 1e-12).rsqrt()).to(q.dtype)


def _meet(plan: Tiling) -> MaskMod:
    """Return which pairs of sorted places meet in a round, r, of sequence and head n, and met in no earlier one."""
    rounds, reach, u_pnc = len(plan.order_rnc), plan.reach, plan.u_pnc[:, :, plan.tile :].contiguous()

    def near(p: Tensor, n: Tensor, q: Tensor, k: Tensor) -> Tensor:
        apart = u_pnc[p, n, q] - u_pnc[p, n, k]
        return (apart >= 0) & (apart <= reach)

    def meet(n: Tensor, r: Tensor, q: Tensor, k: Tensor) -> Tensor:
        first = r * (r + 1) // 2  # of round r's numbers u, one set for each round up to it
        found = near(first + r, n, q, k)
        for earlier in range(rounds - 1):
            found = found & ~((earlier < r) & near(first + r.clamp(max=earlier), n, q, k))
        return found

    return meet


def _itself_last(score: Tensor, n: Tensor, r: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """Return SELF_SCORE for a token and itself; it meets itself in the first round alone."""
    return torch.where(q == k, SELF_SCORE, score)


def _near_diagonal(length: int, chunk: int, causal: bool, meet: MaskMod, device: torch.device) -> Any:
    """Return the block mask of the tiles in which pairs can meet."""
    first_n = torch.arange(0, length, TILE, device=device).unsqueeze(1)
    last_n, first_m = first_n + TILE - 1, first_n.mT
    if causal:
        least_n, most_n = first_n - chunk, last_n
    else:  # its own chunk and the one before
        least_n, most_n = (first_n // chunk - 1) * chunk, (last_n // chunk + 1) * chunk - 1
    some_nm = (first_m <= most_n) & (first_m + TILE > least_n)
    return block_mask(some_nm[None, None], torch.zeros_like(some_nm)[None, None], meet, (length, length))
