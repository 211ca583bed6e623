"""Attention inside buckets that the data chose, in one or several rounds."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops.bucketed_attention.tiled import ITSELF, NOTHING, by_tiles
from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.dtypes import accumulation_dtype, without_autocast


def bucketed_attention(
    q_bhlk: Tensor,
    k_bhlk: Tensor | None,
    v_bhlv: Tensor,
    bucket_bhrl: Tensor,
    *,
    chunk: int,
    causal: bool = False,
    key_mask_bl: Tensor | None = None,
    self_last: bool = False,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """softmax(q kᵀ·scale) v over the pairs that meet in any round, each counted once.

    In each round the real tokens are sorted by (bucket, position). i meets j if both are in one bucket and, with p their
    places in the sorted sequence,

        causal:         0 ≤ p_i − p_j ≤ chunk: the `chunk` tokens before it in its bucket, wherever chunks would begin;
        bidirectional:  ⌊p_i/chunk⌋ − ⌊p_j/chunk⌋ ∈ {0, 1}: its own chunk and the one before.

    (Chunks that begin every `chunk` tokens of the sorted sequence would move with tokens still to come, so that a causal
    token saw the future in which keys it was shown.)

    Args:
        q_bhlk, k_bhlk, v_bhlv: queries and keys (B, H, L, K), values (B, H, L, V). None for keys k_j = q_j/|q_j|.
        bucket_bhrl: the bucket of each token in each of R rounds, (B, H, R, L), int64 ≥ 0.
        chunk: see above.
        key_mask_bl: (B, L) bool, True where a token is real. Others are in no bucket and give 0; what they hold, NaN too,
            does not matter.
        self_last: a token attends to itself only where it meets no other (the score of that pair is −100,000).
        scale: 1/√K by default.
        impl: "auto", "torch" (sorted, tile by tile) or "naive" (from the definition, O(R L²)).

    Returns:
        (B, H, L, V), the softmax over the union of all rounds' pairs, as if a pair were seen in one round only.

    Cost: O(R L log L + R L·chunk (K + V + R)) time, O(R² L) memory beside the inputs: scores are made again in the backward
    pass. Scores and sums are float32 for half types.
    Source: Kitaev et al. 2020 (Reformer), arXiv:2001.04451.
    """
    keys = q_bhlk if k_bhlk is None else k_bhlk
    size = checks.sizes(q=(q_bhlk, "BHLK"), k=(keys, "BHLK"), v=(v_bhlv, "BHLV"), bucket=(bucket_bhrl, "BHRL"))
    checks.same_dtype(q=q_bhlk, k=keys, v=v_bhlv)
    checks.mask("key_mask_bl", key_mask_bl, size["B"], size["L"])
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, but {chunk} was given")
    scale = size["K"] ** -0.5 if scale is None else scale
    if key_mask_bl is not None:
        hidden = ~key_mask_bl[:, None, :, None]
        q_bhlk, v_bhlv = q_bhlk.masked_fill(hidden, 0), v_bhlv.masked_fill(hidden, 0)
        k_bhlk = None if k_bhlk is None else k_bhlk.masked_fill(hidden, 0)
    if not size["L"]:
        return v_bhlv
    form = pick("bucketed_attention", impl, {"torch": by_tiles, "naive": plain})
    with without_autocast(q_bhlk.device):
        work = accumulation_dtype(q_bhlk.dtype)
        q, k, v = q_bhlk.to(work), None if k_bhlk is None else k_bhlk.to(work), v_bhlv.to(work)
        return form(q, k, v, bucket_bhrl, key_mask_bl, chunk, causal, self_last, scale).to(q_bhlk.dtype)


def plain(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    bucket_bhrl: Tensor,
    mask_bl: Tensor | None,
    chunk: int,
    causal: bool,
    self_last: bool,
    scale: float,
) -> Tensor:
    """From the definition: places by counting, every pair compared."""
    length = q.shape[2]
    real = q.new_ones(q.shape[0], length, dtype=torch.bool) if mask_bl is None else mask_bl
    i = torch.arange(length, device=q.device)
    mine, other = bucket_bhrl[..., :, None], bucket_bhrl[..., None, :]
    first = (other < mine) | ((other == mine) & (i < i[:, None]))
    place = (first & real[:, None, None, None, :]).sum(-1)
    far = place[..., :, None] - place[..., None, :]
    chunks = place[..., :, None] // chunk - place[..., None, :] // chunk
    near = ((far >= 0) & (far <= chunk)) if causal else ((chunks == 0) | (chunks == 1))
    met = ((mine == other) & near).any(2) & real[:, None, None, :] & real[:, None, :, None]
    k = q / (q.square().sum(-1, keepdim=True) + 1e-12).sqrt() if k is None else k
    scores = q @ k.mT * scale
    if self_last:
        scores = scores.masked_fill(i == i[:, None], ITSELF)
    weights = scores.masked_fill(~met, NOTHING).softmax(-1) * met.any(-1, keepdim=True)
    return weights @ v
