"""Linear attention: one kernel for every mixer whose similarity is a product of features."""

from __future__ import annotations

from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.linear_attention import matmul, naive, triton_form
from formers.ops.linear_attention.elementwise import ElementwiseFeature, check_feature
from formers.ops.linear_attention.inputs import LinearInputs
from formers.ops.linear_attention.state import LinearState, check_causal, check_state


def linear_attention(
    q_bhlm: Tensor,
    k_bhsm: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    state: LinearState | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
    log_decay_bhl: Tensor | None = None,
    feature: ElementwiseFeature = "identity",
    impl: str = "auto",
) -> tuple[Tensor, LinearState]:
    """Return linear attention, `y_i = Σ_j (q_i·k_j) v_j / Σ_j q_i·k_j`, over j ≤ i when causal.

    With a decay g per token, what came before fades: (q_i·k_j) becomes (q_i·k_j) Π_{j<l≤i} g_l, or as a recurrence

        S_i = g_i S_{i−1} + k_i v_iᵀ        z_i = g_i z_{i−1} + k_i        y_i = q_i·S_i / q_i·z_i.

    Args:
        q_bhlm, k_bhsm: features of queries (B, H, L, M) and keys (B, H, S, M), or with `feature` what they are made of.
        v_bhsv: values (B, H, S, V).
        causal: query i sees keys up to i; needs L = S.
        key_mask_bs: (B, S) bool, True where a key is real. What masked keys and values hold, NaN too, does not matter;
            a masked token neither decays nor adds.
        state: what came before this call, or None at the start; its sums are part of every row.
        normalize: divide by the denominator. False gives Σ_j (q_i·k_j) v_j and a state without z.
        floor: the least size of a denominator d. Where 0 < |d| < floor, ±floor takes its place and no gradient passes
            through d; where d = 0, as for a row that sees no key, y and its gradients are 0. A negative d divides as
            it is. Random features, whose d may cancel, want a larger one; exponential ones, whose d is a product of
            exponentials, a smaller one.
        log_decay_bhl: log g ≤ 0, (B, H, L), of any floating-point dtype; −∞ forgets everything before. Causal only.
        feature: a map of each number that is applied to queries and keys on the way, in float32 or wider, so that no
            features are stored on a GPU: "elu" (elu(x) + 1), "relu", "squared_relu", "exp". "identity" takes q and k
            as features. A masked key has none.
        impl: "auto", "torch" (chunked), "triton" (chunked, on a GPU) or "naive" (from the formula: O(L²), or token by
            token where there is a decay).

    Returns:
        y (B, H, L, V) in the dtype of q, and the state after the last key, in float32 or wider.

    Cost: O((L + S) M V) time and memory O(L (M + V)); causal adds O(L C (M + V)) within chunks of C tokens. The
    backward pass keeps the inputs only ("triton": y, d and a few states as well). Sums, states, decays and denominators
    are float32 for half types; "triton" multiplies half types as they are, and float32 at torch's own setting for
    matrix products. One pass = chunks = single steps.
    Source: Katharopoulos et al. 2020, arXiv:2006.16236; chunks: Hua et al. 2022, arXiv:2202.10447; decay: Peng et al.
    2021 (gated RFA), arXiv:2103.02143, and Yang et al. 2024, arXiv:2312.06635.
    Raises ValueError for shapes, dtypes, masks or states that do not fit, and for a decay that is not causal.
    """
    size = checks.sizes(q=(q_bhlm, "BHLM"), k=(k_bhsm, "BHSM"), v=(v_bhsv, "BHSV"))
    checks.same_dtype(q=q_bhlm, k=k_bhsm, v=v_bhsv)
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_causal(causal, size["L"], size["S"])
    check_state(state, q_bhlm, v_bhsv, normalize)
    if log_decay_bhl is not None:
        if not causal:
            raise ValueError("log_decay_bhl was given with causal=False; a decay needs an order: pass causal=True")
        checks.sizes(q=(q_bhlm, "BHLM"), log_decay=(log_decay_bhl, "BHL"))
    check_feature(feature)
    inputs = LinearInputs(q_bhlm, k_bhsm, v_bhsv, causal, key_mask_bs, state, normalize, floor, log_decay_bhl, feature)
    with without_autocast(q_bhlm.device):
        return _FORMS.run(impl, inputs, q_bhlm.device)


_FORMS: Forms[LinearInputs, tuple[Tensor, LinearState]] = Forms(
    "linear_attention",
    Form("torch", matmul.linear_attention),
    Form("triton", triton_form.linear_attention, triton_form.unsupported_reasons, triton_form.slow_reasons),
    Form("naive", naive.linear_attention),
    preference={"cpu": ["torch"], "cuda": ["triton", "torch"]},
)
