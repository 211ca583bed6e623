"""Linear attention: one kernel for every mixer whose similarity is a product of features."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops import plain
from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.dtypes import accumulation_dtype, without_autocast
from formers.ops.linear_attention.chunked import CausalLinear, guarded_reciprocal
from formers.ops.types import LinearState

SCORES_TO = 64
"""The most tokens for which causal `linear_attention` writes all scores out, where nothing came before: one chunk, without
the products with a state that is zero."""
STATE_FROM = 0.5
"""`dense_attention` goes through the state once there are this many times as many keys as K; below, through the scores.
Less than 1, since the state is computed anyway, to be returned. Measured by `benchmarks/dense_order.py`."""


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
        impl: "auto", "torch" (chunked) or "naive" (from the formula, O(L²)).

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
    form = pick("linear_attention", impl, {"torch": chunked, "naive": plain.linear_attention})
    options = {"causal": causal, "key_mask_bs": key_mask_bs, "state": state, "normalize": normalize, "floor": floor}
    with without_autocast(q_bhlm.device):
        return form(q_bhlm, k_bhsm, v_bhsv, **options)


def kernel_attention(
    a_bhls: Tensor,
    v_bhsv: Tensor,
    *,
    causal: bool = False,
    key_mask_bs: Tensor | None = None,
    normalize: bool = True,
    floor: float = 1e-18,
) -> Tensor:
    """Linear attention from its similarities a_ij = φ(q_i)·φ(k_j): `y_i = Σ_j a_ij v_j / Σ_j a_ij`, over j ≤ i when causal.

    Cheaper than `linear_attention` where tokens are fewer than features and the kernel φ(q)·φ(k) has a closed form.

    Args:
        a_bhls: similarities (B, H, L, S). What stands at hidden pairs does not matter.
        v_bhsv, causal, key_mask_bs, normalize, floor: as in `linear_attention`.

    Returns:
        y (B, H, L, V) in the dtype of v. Sums are float32 for half types.

    Cost: O(L S V) time, O(L S) memory.
    """
    size = checks.sizes(a=(a_bhls, "BHLS"), v=(v_bhsv, "BHSV"))
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    check_causal(causal, size["L"], size["S"])
    a, v = (t.to(accumulation_dtype(v_bhsv.dtype)) for t in (a_bhls, zero_masked(v_bhsv, key_mask_bs)))
    a = a if key_mask_bs is None else a.masked_fill(~key_mask_bs[:, None, None], 0)
    with without_autocast(v.device):
        return _averaged(a.tril() if causal else a, v, normalize, floor).to(v_bhsv.dtype)


def _averaged(a: Tensor, v: Tensor, normalize: bool, floor: float) -> Tensor:
    """a v, divided by the sums of the rows of a."""
    return a @ v * guarded_reciprocal(a.sum(-1, keepdim=True), floor) if normalize else a @ v


def linear_state(
    k_bhsm: Tensor, v_bhsv: Tensor, *, key_mask_bs: Tensor | None = None, normalize: bool = True
) -> LinearState:
    """What `linear_attention` remembers of these keys and values, as its state after them."""
    size = checks.sizes(k=(k_bhsm, "BHSM"), v=(v_bhsv, "BHSV"))
    checks.same_dtype(k=k_bhsm, v=v_bhsv)
    checks.mask("key_mask_bs", key_mask_bs, size["B"], size["S"])
    with without_autocast(k_bhsm.device):
        k, v = (zero_masked(t, key_mask_bs).to(accumulation_dtype(t.dtype)) for t in (k_bhsm, v_bhsv))
        return LinearState(k.mT @ v, k.sum(2) if normalize else None)


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
    checks.same_dtype(q=q_bhlk, x=x_bhsk)
    few = order == "auto" and x_bhsk.shape[2] < STATE_FROM * q_bhlk.shape[3]
    if impl not in ("auto", "torch") or causal or not (few or order == "scores"):
        return linear_attention(
            q_bhlk, x_bhsk, x_bhsk, causal=causal, key_mask_bs=key_mask_bs, state=state, normalize=False, impl=impl
        )
    checks.mask("key_mask_bs", key_mask_bs, x_bhsk.shape[0], x_bhsk.shape[2])
    check_state(state, q_bhlk, x_bhsk, False)
    form = pick("dense_attention", impl, {"torch": _through_scores})
    with without_autocast(q_bhlk.device):
        return form(q_bhlk, x_bhsk, key_mask_bs=key_mask_bs, state=state)


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
    if state.s_bhmv.dtype != accumulation_dtype(q.dtype):
        raise ValueError(
            f"state is {state.s_bhmv.dtype}; expected {accumulation_dtype(q.dtype)}, which sums of {q.dtype} are held in"
        )
    if normalize and state.z_bhm is None:
        raise ValueError("state has no z_bhm: it comes from normalize=False; go on with normalize=False, or start anew")


def zero_masked(t_bhsm: Tensor, key_mask_bs: Tensor | None) -> Tensor:
    """Zero rows at masked keys."""
    return t_bhsm if key_mask_bs is None else t_bhsm.masked_fill(~key_mask_bs[:, None, :, None], 0)


def start(q: Tensor, v: Tensor, state: LinearState | None, normalize: bool) -> tuple[Tensor, Tensor | None]:
    """S₀ and, where it is needed, z₀: those of the state, or zeros."""
    if state is not None:
        return state.s_bhmv, state.z_bhm if normalize else None
    batch, heads, _, width = q.shape
    dtype = accumulation_dtype(q.dtype)
    s = q.new_zeros(batch, heads, width, v.shape[3], dtype=dtype)
    return s, q.new_zeros(batch, heads, width, dtype=dtype) if normalize else None


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
    """Chunk by chunk when causal, else, and for one step, two matrix products; a short beginning through its scores."""
    k, v = zero_masked(k, key_mask_bs), zero_masked(v, key_mask_bs)
    if causal and state is None and 1 < q.shape[2] <= SCORES_TO:
        wide_q, wide_k, wide_v = (t.to(accumulation_dtype(t.dtype)) for t in (q, k, v))
        y = _averaged((wide_q @ wide_k.mT).tril(), wide_v, normalize, floor)
        return y.to(q.dtype), linear_state(k, v, normalize=normalize)
    s, z = start(q, v, state, normalize)
    if causal and q.shape[2] > 1:
        v = v.view_as(v) if v is k else v  # a compiler wants to see two tensors
        y, s, z = CausalLinear.apply(q, k, v, s, z, floor)
        return y, LinearState(s, z)
    q_wide, k, v = q.to(s.dtype), k.to(s.dtype), v.to(s.dtype)
    s = s + k.mT @ v
    y = q_wide @ s
    if z is not None:
        z = z + k.sum(2)
        d = (z.unsqueeze(2) @ q_wide.mT).mT  # several times faster than q z, a product with one column
        weight = guarded_reciprocal(d, floor)
        y = y * weight if torch.is_grad_enabled() else y.mul_(weight)
    return y.to(q.dtype), LinearState(s, z)


def _through_scores(
    q: Tensor, x: Tensor, *, key_mask_bs: Tensor | None, state: LinearState | None
) -> tuple[Tensor, LinearState]:
    """(q xᵀ) x: cheaper than through the state for few keys."""
    x = zero_masked(x, key_mask_bs).to(accumulation_dtype(q.dtype))
    q_wide, (s, _) = q.to(x.dtype), start(q, x, state, False)
    y = q_wide @ x.mT @ x
    return (y if state is None else y + q_wide @ s).to(q.dtype), LinearState(s + x.mT @ x, None)
