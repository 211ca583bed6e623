"""Linear attention: one kernel for every mixer whose similarity is a product of features."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops import checks, plain
from formers.ops.dispatch import pick
from formers.ops.types import LinearState

CHUNK = 128
"""Tokens a chunk of causal linear attention."""
STATE_ORDER_FROM = 1.0
"""`dense_attention` goes through the state, O(S K²), once S is this many times K; below, through the scores, O(S² K)."""


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
    impl: str = "auto",
) -> tuple[Tensor, LinearState]:
    """Linear attention, `y_i = Σ_j (q_i·k_j) v_j / Σ_j q_i·k_j`, over j ≤ i when causal.

    Args:
        q_bhlm, k_bhsm: features of queries (B, H, L, M) and keys (B, H, S, M): the feature map is already applied.
        v_bhsv: values (B, H, S, V).
        causal: query i sees keys up to i; needs L = S.
        key_mask_bs: (B, S) bool, True where a key is real. What masked keys and values hold, NaN too, does not matter.
        state: what came before this call, or None at the start; its sums are part of every row.
        normalize: divide by the denominator. False gives Σ_j (q_i·k_j) v_j and a state without z.
        floor: the least size of a denominator d. Where 0 < |d| < floor, ±floor takes its place and no gradient passes
            through d; where d = 0, as for a row that sees no key, y and its gradients are 0. A negative d divides as it is.
            The default keeps 1/d² finite in float32; random features, whose d may cancel, want a larger one.
        impl: "auto", "torch" (chunked) or "plain" (from the formula, O(L²)).

    Returns:
        y (B, H, L, V) in the dtype of q, and the state after the last key, in float32 or wider.

    Cost: O((L + S) M V) time and memory O(L (M + V)); causal adds O(L C (M + V)) within chunks of C tokens. Sums,
    states and denominators are float32 for half types. One pass = chunks = single steps.
    Source: Katharopoulos et al. 2020, arXiv:2006.16236; chunks: Hua et al. 2022, arXiv:2202.10447.
    Raises `ValueError` for shapes, dtypes, masks or states that do not fit.
    """
    size = checks.sizes(q=(q_bhlm, "BHLM"), k=(k_bhsm, "BHSM"), v=(v_bhsv, "BHSV"))
    checks.same_dtype(q=q_bhlm, k=k_bhsm, v=v_bhsv)
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_causal(causal, size["L"], size["S"])
    check_state(state, q_bhlm, v_bhsv, normalize)
    form = pick("linear_attention", impl, {"torch": chunked, "plain": plain.linear_attention})
    return form(
        q_bhlm, k_bhsm, v_bhsv, causal=causal, key_mask_bs=key_mask_bs, state=state, normalize=normalize, floor=floor
    )


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
    """DenseAttention, `(q xᵀ) x = q (xᵀ x)`: no softmax, no normaliser, no scale; keys and values are the input itself.

    Args:
        q_bhlk: queries (B, H, L, K).
        x_bhsk: the input, split into heads (B, H, S, K).
        causal: query i sees inputs up to i; needs L = S. Chunked whatever the order.
        key_mask_bs, state, impl: as in `linear_attention`.
        order: "scores" for (q xᵀ) x, O(LSK); "state" for q (xᵀ x), O((L + S)K²); "auto" picks by measured crossover.

    Returns:
        y (B, H, L, K) in the dtype of q, and the state (Σ x xᵀ, None) in float32 or wider.

    Source: Argatkiny & Makarov, DenseAttention, ICML 2025 workshops.
    """
    if order not in ("auto", "scores", "state"):
        raise ValueError(f"order is {order!r}; expected 'auto', 'scores' or 'state'")
    checks.sizes(q=(q_bhlk, "BHLK"), x=(x_bhsk, "BHSK"))
    through_scores = order == "scores" or (order == "auto" and x_bhsk.shape[2] < STATE_ORDER_FROM * q_bhlk.shape[3])
    if impl == "plain" or causal or not through_scores:
        return linear_attention(
            q_bhlk, x_bhsk, x_bhsk, causal=causal, key_mask_bs=key_mask_bs, state=state, normalize=False, impl=impl
        )
    checks.same_dtype(q=q_bhlk, x=x_bhsk)
    checks.mask("key_mask_bs", key_mask_bs, x_bhsk.shape[0], x_bhsk.shape[2])
    check_state(state, q_bhlk, x_bhsk, False)
    pick("dense_attention", impl, {"torch": dense_attention, "plain": plain.dense_attention})
    q, x = widen(q_bhlk), hide(widen(x_bhsk), key_mask_bs)
    y, s = (q @ x.mT) @ x, x.mT @ x
    if state is not None:
        y, s = y + q @ state.s_bhmv, s + state.s_bhmv
    return y.to(q_bhlk.dtype), LinearState(s, None)


def check_causal(causal: bool, length: int, keys: int) -> None:
    if causal and length != keys:
        raise ValueError(
            f"causal linear attention needs as many queries as keys, but got L = {length}, S = {keys}; "
            "pass the earlier keys as `state`"
        )


def check_state(state: LinearState | None, q: Tensor, v: Tensor, normalize: bool) -> None:
    """A state must fit the heads and widths of this call, and hold z where it is needed."""
    if state is None:
        return
    shape = (*q.shape[:2], q.shape[-1], v.shape[-1])
    if tuple(state.s_bhmv.shape) != shape:
        raise ValueError(f"state.s_bhmv has shape {tuple(state.s_bhmv.shape)}; expected (B, H, M, V) = {shape}")
    if normalize and state.z_bhm is None:
        raise ValueError("state has no z_bhm: it comes from normalize=False; go on with normalize=False, or start anew")


def widen(t: Tensor) -> Tensor:
    """float32 for half types; float32 and float64 as they are."""
    return t.to(torch.promote_types(t.dtype, torch.float32))


def hide(t_bhsm: Tensor, key_mask_bs: Tensor | None) -> Tensor:
    """Zero rows at masked keys."""
    return t_bhsm if key_mask_bs is None else t_bhsm.masked_fill(~key_mask_bs[:, None, :, None], 0)


def divide(y: Tensor, d: Tensor, floor: float) -> Tensor:
    """y / d with the guard that `linear_attention` documents."""
    d = torch.where(d.abs() < floor, d.sign() * floor, d)
    return torch.where(d == 0, 0, y / torch.where(d == 0, 1, d))


def chunked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool,
    key_mask_bs: Tensor | None,
    state: LinearState | None,
    normalize: bool,
    floor: float,
) -> tuple[Tensor, LinearState]:
    """Chunk by chunk when causal, else two matrix products."""
    dtype = q.dtype
    q, k, v = widen(q), hide(widen(k), key_mask_bs), hide(widen(v), key_mask_bs)
    if state is None:
        s, z = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1]), q.new_zeros(*q.shape[:2], q.shape[-1])
    else:
        s, z = state.s_bhmv, (q.new_zeros(*q.shape[:2], q.shape[-1]) if state.z_bhm is None else state.z_bhm)
    ys = []
    step = CHUNK if causal else max(q.shape[2], k.shape[2], 1)
    pieces = zip(*(t.split(step, 2) for t in (q, k, v)), strict=True) if causal else [(q, k, v)]
    for qc, kc, vc in pieces:
        if causal:
            a = (qc @ kc.mT).tril()
            y, d = qc @ s + a @ vc, qc @ z[..., None] + a.sum(-1, keepdim=True)
            s, z = s + kc.mT @ vc, z + kc.sum(2)
        else:
            s, z = s + kc.mT @ vc, z + kc.sum(2)
            y, d = qc @ s, qc @ z[..., None]
        ys.append(divide(y, d, floor) if normalize else y)
    return torch.cat(ys, 2).to(dtype), LinearState(s, z if normalize else None)
