"""DenseAttention: linear attention whose keys and values are the input itself."""

from __future__ import annotations

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.linear_attention import matmul, naive, triton_form
from formers.ops.linear_attention.inputs import DenseInputs
from formers.ops.linear_attention.state import LinearState, check_causal, check_state


def dense_attention(
    q_bhlk: Tensor,
    x_bhsk: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    state: LinearState | None = None,
    order: str = "auto",
    impl: str = "auto",
) -> tuple[Tensor, LinearState]:
    """Return DenseAttention, `(q xᵀ) x = q (xᵀ x)`: no softmax, normaliser or scale; keys and values are the input.

    Args:
        q_bhlk: queries (B, H, L, K).
        x_bhsk: the input, split into heads (B, H, S, K).
        causal: query i sees inputs up to i; needs L = S. Chunked whatever the order.
        key_mask_bs, state, impl: as in `linear_attention`.
        order: "scores" for (q xᵀ) x, O(LSK); "state" for q (xᵀ x), O((L + S)K²); "auto" picks by measured crossover.

    Returns:
        y (B, H, L, K) in the dtype of q, and the state (Σ x xᵀ, None) in float32 or wider.

    Source: Argatkiny & Makarov, DenseAttention, ICML 2025 workshops.
    Raises ValueError for shapes, dtypes, masks or states that do not fit, and for another order.
    """
    if order not in ("auto", "scores", "state"):
        raise ValueError(f"order is {order!r}; expected 'auto', 'scores' or 'state'")
    size = checks.sizes(q=(q_bhlk, "BHLK"), x=(x_bhsk, "BHSK"))
    checks.same_dtype(q=q_bhlk, x=x_bhsk)
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_causal(causal, size["L"], size["S"])
    check_state(state, q_bhlk, x_bhsk, normalize=False)
    inputs = DenseInputs(q_bhlk, x_bhsk, causal, key_mask_bs, state, order)
    with without_autocast(q_bhlk.device):
        return _FORMS.run(impl, inputs, q_bhlk.device)


_FORMS: Forms[DenseInputs, tuple[Tensor, LinearState]] = Forms(
    "dense_attention",
    Form("torch", matmul.dense_attention),
    Form("triton", triton_form.dense_attention, triton_form.dense_reasons, triton_form.slow_dense_reasons),
    Form("naive", naive.dense_attention),
    preference={"cpu": ["torch"], "cuda": ["triton", "torch"]},
)
