"""Softmax in a window and on the first tokens, linear attention to all others, for whole sequences at once."""

from __future__ import annotations

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.linear_attention import naive, windowed_blocks, windowed_flex
from formers.ops.linear_attention.inputs import WindowedInputs


def windowed_linear_attention(
    q_bhlk: Tensor,
    k_bhlk: Tensor,
    v_bhlv: Tensor,
    phi_q_bhlm: Tensor,
    phi_k_bhlm: Tensor,
    *,
    window: int,
    sinks: int,
    log_gain_h: Tensor | None = None,
    floor: float = 1e-18,
    impl: str = "auto",
) -> Tensor:
    """Return y_i = (Σ_near e^(s_ij − m_i) v_j + g Σ_far φ(q_i)·φ(k_j) v_j) / the same without v_j.

    Near are the `window` tokens up to i and the first `sinks`, far all others before i; s_ij = q_i·k_j/√K, and m_i is
    the largest score of the near ones. A sequence begins here and has no padding before its last token.

    Args:
        q_bhlk, k_bhlk, v_bhlv: queries and keys (B, H, L, K), values (B, H, L, V).
        phi_q_bhlm, phi_k_bhlm: features of queries and keys, (B, H, L, M), in the dtype of v or a wider one.
        window: at least 1.
        sinks: at least 0.
        log_gain_h: log g of each head, (H,); g is 1 unless given.
        floor: the least size of a denominator, as in `linear_attention`.
        impl: "auto", "blocks" (near pairs are products of blocks), "flex" (near pairs by FlexAttention, and half types
            multiplied as they are; its restrictions raise) or "naive" (from the formula). On a GPU "auto" is "flex"
            wherever that can run, else "blocks".

    Returns:
        y (B, H, L, V) in the dtype of v. Sums are float32 or wider.

    Cost: O(L (window + sinks + 64) K) for near pairs ("flex": tiles of 128 for 64), O(L M V) for far ones.
    Source: Zhang et al. 2024 (LoLCATs), arXiv:2410.10254.
    Raises ValueError for shapes or dtypes that do not fit.
    """
    size = checks.sizes(q=(q_bhlk, "BHLK"), k=(k_bhlk, "BHLK"), v=(v_bhlv, "BHLV"))
    checks.same_dtype(q=q_bhlk, k=k_bhlk, v=v_bhlv)
    checks.sizes(v=(v_bhlv, "BHLV"), phi_q=(phi_q_bhlm, "BHLM"), phi_k=(phi_k_bhlm, "BHLM"))
    checks.same_dtype(phi_q=phi_q_bhlm, phi_k=phi_k_bhlm)
    if window < 1 or sinks < 0:
        raise ValueError(f"window={window} and sinks={sinks} were given; expected at least 1, and at least 0")
    if log_gain_h is not None and log_gain_h.shape != (size["H"],):
        raise ValueError(f"log_gain_h has shape {tuple(log_gain_h.shape)}; expected (H,) = ({size['H']},)")
    inputs = WindowedInputs(q_bhlk, k_bhlk, v_bhlv, phi_q_bhlm, phi_k_bhlm, log_gain_h, window, sinks, floor)
    with without_autocast(q_bhlk.device):
        return _FORMS.run(impl, inputs, q_bhlk.device)


# On a CPU "flex" runs on request only: there it has no gradients.
_FORMS: Forms[WindowedInputs, Tensor] = Forms(
    "windowed_linear_attention",
    Form("blocks", windowed_blocks.windowed_linear_attention),
    Form("flex", windowed_flex.windowed_linear_attention, windowed_flex.unsupported_reasons),
    Form("naive", naive.windowed_linear_attention),
    preference={"cpu": ["blocks"], "cuda": ["flex", "blocks"]},
)
