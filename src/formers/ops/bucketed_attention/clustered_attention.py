"""Attention inside clusters, each of which has picked its queries and its keys."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.bucketed_attention import gathered_clusters, naive
from formers.ops.bucketed_attention.in_wide import in_wide
from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.padding import zero_masked


def clustered_attention(
    q_bhlk: Tensor,
    k_bhlk: Tensor,
    v_bhlv: Tensor,
    queries_bhcw: Tensor,
    keys_bhcw: Tensor,
    *,
    causal: bool = False,
    key_mask_bl: Tensor | None = None,
    self_last: bool = False,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Return softmax(q kᵀ·scale) v over the W queries and keys of each of C clusters, averaged where clusters overlap.

    Args:
        q_bhlk, k_bhlk, v_bhlv: queries and keys (B, H, L, K), values (B, H, L, V).
        queries_bhcw, keys_bhcw: the positions that each cluster picked, (B, H, C, W), int64, none twice in one cluster.
        causal: a query sees keys at positions up to its own. What the clusters picked is the caller's business: picks
            made over the whole sequence depend on the future.
        key_mask_bl: (B, L) bool, True where a token is real. Others are left out even where they were picked.
        self_last: a token attends to itself only where it meets no other (that pair's score is lowered by 100,000).
        scale: 1/√K by default.
        impl: "auto", "torch" (gathered) or "naive" (cluster by cluster over all pairs).

    Returns:
        (B, H, L, V); zeros for tokens that no cluster picked as a query.

    Cost: O(C W² (K + V)). Half types are multiplied as they are on a GPU, and summed in float32.
    Source: Roy et al. 2021 (Routing Transformer), arXiv:2003.05997.
    Raises ValueError for shapes, dtypes or masks that do not fit.
    """
    size = checks.sizes(
        q=(q_bhlk, "BHLK"),
        k=(k_bhlk, "BHLK"),
        v=(v_bhlv, "BHLV"),
        queries=(queries_bhcw, "BHCW"),
        keys=(keys_bhcw, "BHCW"),
    )
    checks.same_dtype(q=q_bhlk, k=k_bhlk, v=v_bhlv)
    checks.mask("key_mask_bl", key_mask_bl, size["B"], size["L"])
    q, k, v = (zero_masked(t, key_mask_bl) for t in (q_bhlk, k_bhlk, v_bhlv))
    scale = size["K"] ** -0.5 if scale is None else scale
    inputs = ClusteredInputs(q, k, v, queries_bhcw, keys_bhcw, causal, key_mask_bl, self_last, scale)
    with without_autocast(q.device):
        return _FORMS.run(impl, inputs, q.device).to(q_bhlk.dtype)


class ClusteredInputs(NamedTuple):
    """The checked inputs of `clustered_attention`, as every form takes them: masked tokens are zero."""

    q_bhlk: Tensor
    k_bhlk: Tensor
    v_bhlv: Tensor
    queries_bhcw: Tensor
    keys_bhcw: Tensor
    causal: bool
    key_mask_bl: Tensor | None
    self_last: bool
    scale: float


_FORMS: Forms[ClusteredInputs, Tensor] = Forms(
    "clustered_attention",
    Form("torch", gathered_clusters.clustered_attention),
    Form("naive", in_wide(naive.clustered_attention)),
    preference={"cpu": ["torch"], "cuda": ["torch"]},
)
