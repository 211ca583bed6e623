"""Attention inside buckets that the data chose, in one or several rounds of hashing."""

from __future__ import annotations

from torch import Tensor

from formers.ops.bucketed_attention import flex, naive, tiled
from formers.ops.bucketed_attention.in_wide import in_wide
from formers.ops.bucketed_attention.inputs import BucketedInputs
from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.padding import zero_masked


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
    """Return softmax(q kᵀ·scale) v over the pairs that meet in any round, each counted once.

    In each round the real tokens are sorted by (bucket, position). i meets j if both are in one bucket and, with p
    their places in the sorted sequence,

        causal:         0 ≤ p_i − p_j ≤ chunk: the `chunk` tokens before it in its bucket, wherever chunks would begin;
        bidirectional:  ⌊p_i/chunk⌋ − ⌊p_j/chunk⌋ ∈ {0, 1}: its own chunk and the one before.

    (Chunks that begin every `chunk` tokens of the sorted sequence would move with tokens still to come, so that a
    causal token saw the future in which keys it was shown.)

    Args:
        q_bhlk, k_bhlk, v_bhlv: queries and keys (B, H, L, K), values (B, H, L, V). None for keys k_j = q_j/|q_j|.
        bucket_bhrl: the bucket of each token in each of R rounds, (B, H, R, L), int64 ≥ 0.
        chunk: see above.
        key_mask_bl: (B, L) bool, True where a token is real. Others are in no bucket and give 0; what they hold, NaN
            too, does not matter.
        self_last: a token attends to itself only where it meets no other (the score of that pair is −100,000).
        scale: 1/√K by default.
        impl: "auto", "torch" (sorted, tile by tile), "flex" (sorted, through torch's FlexAttention, for GPUs) or
            "naive" (from the definition, O(R L²)).

    Returns:
        (B, H, L, V), the softmax over the union of all rounds' pairs, as if a pair were seen in one round only.

    Cost: O(R L log L + R L·chunk (K + V + R)) time, O(R² L) memory beside the inputs: scores are made again in the
    backward pass. Scores and sums are float32 for half types, and so are all products of "torch".
    Source: Kitaev et al. 2020 (Reformer), arXiv:2001.04451.
    Raises ValueError for shapes, dtypes or masks that do not fit, and for a chunk below 1.
    """
    keys = q_bhlk if k_bhlk is None else k_bhlk
    size = checks.sizes(q=(q_bhlk, "BHLK"), k=(keys, "BHLK"), v=(v_bhlv, "BHLV"), bucket=(bucket_bhrl, "BHRL"))
    checks.same_dtype(q=q_bhlk, k=keys, v=v_bhlv)
    checks.mask("key_mask_bl", key_mask_bl, size["B"], size["L"])
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, but {chunk} was given")
    if not size["L"]:
        return v_bhlv
    q, v = (zero_masked(t, key_mask_bl) for t in (q_bhlk, v_bhlv))
    k = None if k_bhlk is None else zero_masked(k_bhlk, key_mask_bl)
    scale = size["K"] ** -0.5 if scale is None else scale
    inputs = BucketedInputs(q, k, v, bucket_bhrl, key_mask_bl, chunk, causal, self_last, scale)
    with without_autocast(q.device):
        return _FORMS.run(impl, inputs, q.device).to(q_bhlk.dtype)


_FORMS: Forms[BucketedInputs, Tensor] = Forms(
    "bucketed_attention",
    Form("torch", in_wide(tiled.bucketed_attention)),
    Form("flex", flex.bucketed_attention, flex.unsupported_reasons),
    Form("naive", in_wide(naive.bucketed_attention)),
    preference={"cpu": ["torch"], "cuda": ["flex", "torch"]},
)
