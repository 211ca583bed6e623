"""Linear attention whose features are not made, since their products φ(q)·φ(k) are known: a function of scores."""

from __future__ import annotations

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.flex_kernel import flex_reasons
from formers.ops.common.half_types import multiplies_half
from formers.ops.linear_attention import kernel_flex, kernel_scores, naive
from formers.ops.linear_attention.half_products import LARGEST_CHUNK
from formers.ops.linear_attention.inputs import KernelInputs, Similarity
from formers.ops.linear_attention.state import check_causal


def kernel_attention(
    q_bhlk: Tensor,
    k_bhsk: Tensor,
    v_bhsv: Tensor,
    kernel: Similarity,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    normalize: bool = True,
    scale: float | None = None,
    impl: str = "auto",
) -> Tensor:
    """Return linear attention from similarities a_ij = f(q_i·k_j·scale): y_i = Σ_j a_ij v_j / Σ_j a_ij.

    Cheaper than `linear_attention` where tokens are few beside features: see `kernel_attention_reach`.

    Args:
        q_bhlk, k_bhsk, v_bhsv: queries (B, H, L, K), keys (B, H, S, K) and values (B, H, S, V), not their features.
        kernel: f, scores → φ(q)·φ(k), number by number and positive. Define it once: kernels are compiled for it.
        causal: query i sees keys up to i; needs L = S.
        key_mask_bs: (B, S) bool, True where a key is real. What masked keys and values hold, NaN too, does not matter.
        normalize: divide by the sum of similarities. False gives Σ_j a_ij v_j.
        scale: 1/√K by default.
        impl: "auto", "torch" (all scores at once), "blocks" (those of some queries at a time, made again in the
            backward pass), "flex" (y is softmax over log f, which FlexAttention computes without keeping any score; its
            restrictions raise) or "naive" (from the formula). On a GPU "auto" is "flex" wherever that can run, else
            "blocks".

    Returns:
        y (B, H, L, V) in the dtype of v. A query that sees no key gives zeros. Similarities, and sums of half types,
        are float32.

    Cost: O(L S (K + V)) time; memory O(L S) by "torch", O(512 S) by "blocks", and beside the outputs none by "flex".
    Raises ValueError for shapes, dtypes or masks that do not fit.
    """
    size = checks.sizes(q=(q_bhlk, "BHLK"), k=(k_bhsk, "BHSK"), v=(v_bhsv, "BHSV"))
    checks.same_dtype(q=q_bhlk, k=k_bhsk, v=v_bhsv)
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_causal(causal, size["L"], size["S"])
    scale = q_bhlk.shape[3] ** -0.5 if scale is None else scale
    inputs = KernelInputs(q_bhlk, k_bhsk, v_bhsv, kernel, causal, key_mask_bs, normalize, scale)
    with without_autocast(q_bhlk.device):
        return _FORMS.run(impl, inputs, q_bhlk.device)


def kernel_attention_reach(
    q_bhlk: Tensor, k_bhsk: Tensor, v_bhsv: Tensor, features: int, *, causal: bool, normalize: bool
) -> int:
    """Return below how many tokens `kernel_attention` is less work than `linear_attention` over so many features M.

    That is M of them in general. Causal in half precision on a GPU it is M·C/K, C = min(512, M), from counts of
    multiplications for each query, K = V, not measured: products of matrices over chunks of C tokens take M C + 2 M K,
    three times that with the backward pass; "flex" takes L/2 · 2K, three and a half times with the backward pass, which
    makes scores again. These are equal at 6/7 · (C/K + 2) M: 8.6 M for K = 64, where M·C/K is 8 M.
    """
    q, k, v = q_bhlk, k_bhsk, v_bhsv
    if causal and normalize and multiplies_half(q, k, v) and not flex_reasons(q, k, v, instead="blocks"):
        return max(features, features * min(LARGEST_CHUNK, features) // q.shape[3])
    return features


# On a CPU "flex" runs on request only: there it has no gradients.
_FORMS: Forms[KernelInputs, Tensor] = Forms(
    "kernel_attention",
    Form("torch", kernel_scores.all_at_once),
    Form("blocks", kernel_scores.in_blocks),
    Form("flex", kernel_flex.kernel_attention, kernel_flex.unsupported_reasons),
    Form("naive", naive.kernel_attention),
    preference={"cpu": ["torch"], "cuda": ["flex", "blocks"]},
)
