"""Linear attention: one kernel for every mixer whose similarity is a product of features."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.ops import checks, plain
from formers.ops.dispatch import pick
from formers.ops.types import LinearState

CHUNK = 64
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


def guarded_reciprocal(d: Tensor, floor: float) -> Tensor:
    """1/d with the guard that `linear_attention` documents: at least `floor` from zero, and 0 for d = 0."""
    return torch.where(d.abs() < floor, d.sign() / floor, d.reciprocal())


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
    k, v = hide(k, key_mask_bs), hide(v, key_mask_bs)
    s, z = state if state is not None else (None, None)
    work = torch.promote_types(q.dtype, torch.float32)
    if s is None:
        s = q.new_zeros(*q.shape[:2], q.shape[3], v.shape[3], dtype=work)
    if normalize and z is None:
        z = q.new_zeros(*q.shape[:2], q.shape[3], dtype=work)
    if causal and q.shape[2] > 1:
        y, s, z = Causal.apply(q, k, v, s, z if normalize else None, floor)
        return y, LinearState(s, z)
    qw, k, v = q.to(work), k.to(work), v.to(work)
    s = s + k.mT @ v
    y = qw @ s
    if normalize:
        z = z + k.sum(2)
        y = y * guarded_reciprocal(qw @ z[..., None], floor)
    return y.to(q.dtype), LinearState(s, z if normalize else None)


class Causal(torch.autograd.Function):
    """Causal linear attention, cut into chunks and pieces.

    Inside a chunk: tril(q kᵀ) v; between chunks: q S, with the running state S. Keeps its inputs only; the backward pass
    makes the states again.
    """

    @staticmethod
    def forward(q, k, v, s0, z0, floor):
        y = torch.empty(*q.shape[:3], v.shape[3], dtype=q.dtype, device=q.device)
        s, z = torch.empty_like(s0), None if z0 is None else torch.empty_like(z0)
        for i in pieces(q):
            piece = Chunks(q[i], k[i], v[i], s0[i], None if z0 is None else z0[i])
            y[i] = piece.outputs(floor)
            s[i] = piece.s_end
            if z is not None:
                z[i] = piece.z_end
        return y, s, z

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.floor = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gy, gs, gz):
        q, k, v, s0, z0 = ctx.saved_tensors
        grads = [torch.empty_like(t) if t is not None else None for t in (q, k, v, s0, z0)]
        for i in pieces(q):
            piece = Chunks(q[i], k[i], v[i], s0[i], None if z0 is None else z0[i])
            for whole, part in zip(grads, piece.gradients(gy[i], gs[i], None if z0 is None else gz[i], ctx.floor)):
                if whole is not None:
                    whole[i] = part
        return *grads, None


PIECE = 8192

def pieces(q):
    B, H, L, _ = q.shape
    if torch.compiler.is_compiling() or q.device.type != "cpu":
        return [(slice(None), slice(None))]
    hs = min(max(PIECE // L, 1), H)
    bs = min(max(PIECE // (L * H), 1), B)
    return [(slice(b, b + bs), slice(h, h + hs)) for b in range(0, B, bs) for h in range(0, H, hs)]


def running(steps, start, reverse=False):
    """Exclusive running sums along dim 1."""
    parts = [steps, start[:, None]] if reverse else [start[:, None], steps]
    total = torch.cat(parts, 1)
    slots = total.unbind(1)
    if reverse:
        slots = slots[::-1]
    for before, after in zip(slots, slots[1:]):
        after.add_(before)
    return (total[:, 1:], total[:, 0]) if reverse else (total[:, :-1], total[:, -1])


class Chunks:
    def __init__(self, q, k, v, s0, z0):
        self.shape = q.shape[:3]
        length = q.shape[2]
        self.count = -(-length // CHUNK)
        self.chunk = -(-length // self.count)
        self.lead = q.shape[0] * q.shape[1]
        self.q, self.k, self.v = self.cut(q), self.cut(k), self.cut(v)
        self.a = torch.bmm(self.q, self.k.mT).tril_()
        s, self.s_end = self.run(torch.bmm(self.k.mT, self.v), s0)
        self.s = s
        self.z = None
        self.z_end = None
        if z0 is not None:
            z, self.z_end = self.run(self.k.sum(1), z0)
            self.z = z[:, None]

    def run(self, steps, start, reverse=False):
        r, end = running(steps.unflatten(0, (self.lead, self.count)), start.flatten(0, 1), reverse)
        return r.flatten(0, 1), end.view(start.shape)

    def cut(self, t):
        t = t.to(torch.promote_types(t.dtype, torch.float32))
        extra = self.count * self.chunk - t.shape[2]
        if extra:
            t = torch.nn.functional.pad(t, (0, 0, 0, extra))
        return t.reshape(-1, self.chunk, t.shape[3])

    def join(self, t):
        return t.view(*self.shape[:2], self.count * self.chunk, t.shape[2])[:, :, : self.shape[2]]

    def denominators(self):
        return self.a.sum(-1, keepdim=True) + torch.bmm(self.z, self.q.mT).mT

    def outputs(self, floor):
        y = torch.bmm(self.q, self.s).baddbmm_(self.a, self.v)
        if self.z is not None:
            y.mul_(guarded_reciprocal(self.denominators(), floor))
        return self.join(y)

    def gradients(self, gy, gs, gz, floor):
        g, q, k, v, a = self.cut(gy), self.q, self.k, self.v, self.a
        if self.z is not None:
            d = self.denominators()
            r = guarded_reciprocal(d, floor)
            g = g * r
        dq = torch.bmm(g, self.s.mT)
        w = torch.bmm(g, v.mT).tril_()
        gz0 = None
        if self.z is not None:
            dd = (q * dq).sum(-1, keepdim=True).add_((a * w).sum(-1, keepdim=True)).mul_(r).neg_()
            dd.masked_fill_(d.abs() < floor, 0)
            w.add_(dd).tril_()
            dq.addcmul_(dd, self.z)
            rz, gz0 = self.run(torch.bmm(dd.mT, q).squeeze(1), gz, reverse=True)
        dq.baddbmm_(w, k)
        rs, gs0 = self.run(torch.bmm(q.mT, g), gs, reverse=True)
        dk = torch.bmm(v, rs.mT).baddbmm_(w.mT, q)
        if self.z is not None:
            dk.add_(rz[:, None])
        dv = torch.bmm(k, rs).baddbmm_(a.mT, g)
        return self.join(dq), self.join(dk), self.join(dv), gs0, gz0
