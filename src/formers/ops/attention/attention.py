"""Scaled dot-product attention: softmax over every visible pair."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.attention import fused, naive
from formers.ops.attention.bias import Bias, check_bias
from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms


def attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    bias: Bias = None,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Return scaled dot-product attention, `softmax(q kᵀ·scale + bias) v`.

    Args:
        q_bhlk: queries (B, H, L, K).
        k_bhsk, v_bhsv: keys (B, G, S, K) and values (B, G, S, V); G divides H, and H/G query heads share one (grouped
            queries).
        causal: query i sees keys up to i + S − L only: the last query sees the last key.
        key_mask_bs: (B, S) bool, True where a key is real. What masked keys and values hold, NaN too, does not matter.
        bias: added to the scaled scores: a tensor that broadcasts to (B, H, L, S), where −inf hides a pair; or a
            function `bias(start, stop)` giving rows `start … stop − 1`, (B or 1, H or 1, stop − start, S), the same
            ones when it is called again for the backward pass; or a `Relation`, which sees queries and keys, may change
            scores in any way, and add to the output what it makes of the weights.
        scale: 1/√K by default.
        impl: "auto", "torch" (fused) or "naive" (from the formula).

    Returns:
        (B, H, L, V). A query that sees no key gives zeros, and its gradient is zero.

    Cost: O(LSK) time. Memory O((L + S)K) without bias and mask, plus one block of scores where they need one; rows are
    then recomputed in the backward pass instead of kept.
    Source: Vaswani et al. 2017, arXiv:1706.03762; grouped queries: Ainslie et al. 2023, arXiv:2305.13245.
    Raises `ValueError` for shapes, dtypes or masks that do not fit.
    """
    size = checks.sizes(q=(q_bhlk, "BhLK"), k=(k_bhsk, "BGSK"), v=(v_bhsv, "BGSV"))
    checks.same_dtype(q=q_bhlk, k=k_bhsk, v=v_bhsv)
    checks.groups(q_bhlk.shape[1], size["G"])
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_bias(bias, (size["B"], q_bhlk.shape[1], size["L"], size["S"]))
    inputs = AttentionInputs(q_bhlk, k_bhsk, v_bhsv, causal, key_mask_bs, bias, scale)
    return _FORMS.run(impl, inputs, q_bhlk.device)


class AttentionInputs(NamedTuple):
    """The checked inputs of `attention`, as every form takes them."""

    q_bhlk: Tensor
    k_bhsk: Tensor
    v_bhsv: Tensor
    causal: bool
    key_mask_bs: Tensor | None
    bias: Bias
    scale: float | None


_FORMS: Forms[AttentionInputs, Tensor] = Forms(
    "attention",
    Form("torch", fused.attention),
    Form("naive", naive.attention),
    preference={"cpu": ["torch"], "cuda": ["torch"]},
)
