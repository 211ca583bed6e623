"""Attention inside buckets that the data chose, in one or several rounds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from formers.ops import checks
from formers.ops.dispatch import pick
from formers.ops.precision import wide, without_autocast

SCORES_AT_ONCE = 1 << 18
"""Scores in a piece on a CPU, so that they stay in its cache from the product to the sum."""
NOTHING = -1e30
"""The score of a hidden pair. Finite, so that a row without any pair in one round gives no NaN."""
LOG2_E = math.log2(math.e)
"""Scores are taken to base 2: on a CPU exp2 is several times faster than exp, which is slowest on what underflows."""
ITSELF = -1e5
"""The score of a token with itself where that is the last resort."""


def bucketed_attention(
    q_bhlk: Tensor,
    k_bhlk: Tensor,
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
    """softmax(q kᵀ·scale) v over the pairs that meet in any round, each counted once.

    In each round the real tokens are sorted by (bucket, position). i meets j if both are in one bucket and, with p their
    places in the sorted sequence,

        causal:         0 ≤ p_i − p_j ≤ chunk: the `chunk` tokens before it in its bucket, wherever chunks would begin;
        bidirectional:  ⌊p_i/chunk⌋ − ⌊p_j/chunk⌋ ∈ {0, 1}: its own chunk and the one before.

    (Chunks that begin every `chunk` tokens of the sorted sequence would move with tokens still to come, so that a causal
    token saw the future in which keys it was shown.)

    Args:
        q_bhlk, k_bhlk, v_bhlv: queries and keys (B, H, L, K), values (B, H, L, V).
        bucket_bhrl: the bucket of each token in each of R rounds, (B, H, R, L), int64 ≥ 0.
        chunk: see above.
        key_mask_bl: (B, L) bool, True where a token is real. Others are in no bucket and give 0; what they hold, NaN too,
            does not matter.
        self_last: a token attends to itself only where it meets no other (the score of that pair is −100,000).
        scale: 1/√K by default.
        impl: "auto", "torch" (sorted, chunk by chunk) or "plain" (from the definition, O(R L²)).

    Returns:
        (B, H, L, V), the softmax over the union of all rounds' pairs, as if a pair were seen in one round only.

    Cost: O(R L log L + R L·chunk (K + V + R)) time, O(R L) memory beside the inputs: scores are made again in the backward
    pass. Scores and sums are float32 for half types.
    Source: Kitaev et al. 2020 (Reformer), arXiv:2001.04451.
    """
    size = checks.sizes(q=(q_bhlk, "BHLK"), k=(k_bhlk, "BHLK"), v=(v_bhlv, "BHLV"), bucket=(bucket_bhrl, "BHRL"))
    checks.same_dtype(q=q_bhlk, k=k_bhlk, v=v_bhlv)
    checks.mask("key_mask_bl", key_mask_bl, size["B"], size["L"])
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, but {chunk} was given")
    scale = size["K"] ** -0.5 if scale is None else scale
    if key_mask_bl is not None:
        hidden = ~key_mask_bl[:, None, :, None]
        q_bhlk, k_bhlk, v_bhlv = (t.masked_fill(hidden, 0) for t in (q_bhlk, k_bhlk, v_bhlv))
    if not size["L"]:
        return v_bhlv
    form = pick("bucketed_attention", impl, {"torch": by_chunks, "plain": plain})
    with without_autocast(q_bhlk.device):
        work = [t.to(wide(t.dtype)) for t in (q_bhlk, k_bhlk, v_bhlv)]
        return form(*work, bucket_bhrl, key_mask_bl, chunk, causal, self_last, scale).to(q_bhlk.dtype)


def plain(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bucket_bhrl: Tensor,
    mask_bl: Tensor | None,
    chunk: int,
    causal: bool,
    self_last: bool,
    scale: float,
) -> Tensor:
    """From the definition: places by counting, every pair compared."""
    length = q.shape[2]
    real = q.new_ones(q.shape[0], length, dtype=torch.bool) if mask_bl is None else mask_bl
    i = torch.arange(length, device=q.device)
    mine, other = bucket_bhrl[..., :, None], bucket_bhrl[..., None, :]
    first = (other < mine) | ((other == mine) & (i < i[:, None]))
    place = (first & real[:, None, None, None, :]).sum(-1)
    far = place[..., :, None] - place[..., None, :]
    chunks = place[..., :, None] // chunk - place[..., None, :] // chunk
    near = ((far >= 0) & (far <= chunk)) if causal else ((chunks == 0) | (chunks == 1))
    met = ((mine == other) & near).any(2) & real[:, None, None, :] & real[:, None, :, None]
    scores = q @ k.mT * scale
    if self_last:
        scores = scores.masked_fill(i == i[:, None], ITSELF)
    weights = scores.masked_fill(~met, NOTHING).softmax(-1) * met.any(-1, keepdim=True)
    return weights @ v


class Plan(NamedTuple):
    """How rows (batch · heads) are worked on; L is a multiple of `chunk` here.

    Attributes:
        order_nrl: the position of each token in sorted sequence, per round.
        place_nrl: the place in the sorted sequence of each position: its inverse.
        u_nrl: i meets j in a round where 0 ≤ u_i − u_j ≤ reach.
        reach: see there.
    """

    order_nrl: Tensor
    place_nrl: Tensor
    u_nrl: Tensor
    reach: float
    chunk: int
    self_last: bool
    scale: float


def by_chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bucket_bhrl: Tensor,
    mask_bl: Tensor | None,
    chunk: int,
    causal: bool,
    self_last: bool,
    scale: float,
) -> Tensor:
    """Sorted, cut into chunks, each a matrix product with itself and the chunk before."""
    batch, heads, length, _ = q.shape
    chunk_now = min(chunk, max(length, 1))
    missing = -length % chunk_now
    real = q.new_ones(batch, length, dtype=torch.bool) if mask_bl is None else mask_bl
    real = pad(real, (0, missing))
    bucket = pad(bucket_bhrl, (0, missing)).masked_fill(~real[:, None, None], torch.iinfo(torch.int64).max)
    plan = make_plan(bucket.flatten(0, 1), chunk_now, causal, self_last, scale)
    rows = [pad(t, (0, 0, 0, missing)).flatten(0, 1) for t in (q, k, v)]
    y, _ = Bucketed.apply(*rows, *plan)
    y = y.unflatten(0, (batch, heads))[:, :, :length]
    return y if mask_bl is None else y.masked_fill(~mask_bl[:, None, :, None], 0)


def make_plan(bucket_nrl: Tensor, chunk: int, causal: bool, self_last: bool, scale: float) -> Plan:
    length = bucket_nrl.shape[2]
    ordered, order = bucket_nrl.sort(dim=2, stable=True)
    at = torch.arange(length, device=order.device)
    place = torch.empty_like(order).scatter_(2, order, at.expand_as(order))
    reach, base = (chunk, at) if causal else (1, at // chunk)
    parted = pad((ordered[..., 1:] != ordered[..., :-1]).long().cumsum(2), (1, 0))
    u_sorted = base + (reach + 1) * parted  # buckets lie further apart than the reach
    exact = torch.float32 if length * (chunk + 2) < 1 << 22 else torch.float64
    return Plan(order, place, u_sorted.to(exact).gather(2, place), float(reach), chunk, self_last, scale)


class Bucketed(torch.autograd.Function):
    """(q, k, v (N, L, width), and a plan) → (y, log₂ Σ 2^s), both (N, L, …)."""

    @staticmethod
    def forward(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        order: Tensor,
        place: Tensor,
        u: Tensor,
        reach: float,
        chunk: int,
        self_last: bool,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        plan = Plan(order, place, u, reach, chunk, self_last, scale)
        y, lse = torch.empty_like(v), v.new_empty(v.shape[:2])
        for i in pieces(q, plan):
            y[i], lse[i] = forward_rows(q[i], k[i], v[i], part(plan, i))
        return y, lse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, order, place, u, *ctx.rest = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, order, place, u, *output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, order, place, u, y, lse = ctx.saved_tensors
        plan = Plan(order, place, u, *ctx.rest)
        gq, gk, gv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        delta = (gy * y).sum(-1)
        for i in pieces(q, plan):
            gq[i], gk[i], gv[i] = backward_rows(q[i], k[i], v[i], part(plan, i), lse[i], gy[i], delta[i])
        return (gq, gk, gv, *[None] * 7)


def pieces(q: Tensor, plan: Plan) -> list[slice]:
    """Which rows to work on at once: few on a CPU; all where the device fills no cache or a compiler plans."""
    rows, length, _ = q.shape
    step = rows
    if q.device.type == "cpu" and not torch.compiler.is_compiling():
        step = max(SCORES_AT_ONCE // (2 * length * plan.chunk), 1)
    return [slice(i, i + step) for i in range(0, rows, max(step, 1))]


def spans(q: Tensor, plan: Plan) -> list[tuple[int, int]]:
    """Which chunks of a row to work on at once."""
    count = q.shape[1] // plan.chunk
    step = count
    if q.device.type == "cpu" and not torch.compiler.is_compiling():
        step = max(SCORES_AT_ONCE // (2 * q.shape[0] * plan.chunk**2), 1)
    return [(i, min(i + step, count)) for i in range(0, count, max(step, 1))]


def part(plan: Plan, rows: slice) -> Plan:
    return plan._replace(order_nrl=plan.order_nrl[rows], place_nrl=plan.place_nrl[rows], u_nrl=plan.u_nrl[rows])


def take(t_nlx: Tensor, index_nl: Tensor) -> Tensor:
    """Rows of t in another order."""  # by index_select, which copies whole rows; gather goes number by number
    rows, length, _ = t_nlx.shape
    start_n1 = torch.arange(0, rows * length, length, device=index_nl.device)[:, None]
    return t_nlx.flatten(0, 1).index_select(0, (index_nl + start_n1).flatten()).view(rows, length, -1)


def cut(t_nlx: Tensor, chunk: int) -> Tensor:
    """(N, L, X) → (N, 1 + chunks, C, X), with an empty chunk in front."""
    return pad(t_nlx, (0, 0, chunk, 0)).unflatten(1, (-1, chunk))


def doubled(t_ncx: Tensor, start: int, stop: int) -> Tensor:
    """Each chunk behind the one before it: (N, stop − start, 2C, X)."""
    return torch.cat([t_ncx[:, start:stop], t_ncx[:, start + 1 : stop + 1]], 2)


class Round:
    """One round's rows in sorted order, cut into chunks."""

    def __init__(self, plan: Plan, r: int, *tensors: Tensor):
        self.plan, self.r, self.order = plan, r, plan.order_nrl[:, r]
        self.chunks = [cut(take(t, self.order), plan.chunk) for t in tensors]
        u_nlr = take(plan.u_nrl[:, : r + 1].mT, self.order)
        self.u = cut(u_nlr, plan.chunk)
        self.u[:, 0] = -torch.inf  # nothing lies before the first chunk

    def scores(self, q: Tensor, k: Tensor, start: int, stop: int) -> Tensor:
        """q kᵀ·scale·log₂ e of the pairs that meet in this round and met in no earlier one; `NOTHING` for others."""
        plan, half = self.plan, self.plan.reach / 2
        s = (q * (plan.scale * LOG2_E)) @ k.mT
        u_q, u_k = self.u[:, start + 1 : stop + 1] - half, doubled(self.u, start, stop)
        for r in range(self.r + 1):
            off = (u_q[..., r, None] - u_k[..., None, :, r]).abs_()
            s.masked_fill_(off > half if r == self.r else off <= half, NOTHING)
        if plan.self_last and self.r == 0:
            s.diagonal(plan.chunk, -2, -1).fill_(ITSELF * LOG2_E)
        return s


def forward_rows(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """y and log₂ Σ 2^s. The rounds one after the other, each rescaled to the largest score so far."""
    total, weight = torch.zeros_like(v), v.new_zeros(*v.shape[:2], 1)
    top = torch.full_like(weight, -torch.inf)
    for r in range(plan.order_nrl.shape[1]):
        sums, largest, norm = (take(t, plan.place_nrl[:, r]) for t in one_round(Round(plan, r, q, k, v), q))
        both = torch.maximum(top, largest)
        old, new = (top - both).exp2_(), (largest - both).exp2_()
        total, weight, top = total.mul_(old).addcmul_(sums, new), weight * old + norm * new, both
    return total.div_(weight), (top + weight.log2()).squeeze(-1)


def one_round(rows: Round, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ 2^(s − max) v, max and Σ 2^(s − max) of each row, in sorted order, (N, L, V or 1)."""
    q_chunks, k_chunks, v_chunks = rows.chunks
    found: list[tuple[Tensor, ...]] = []
    for start, stop in spans(q, rows.plan):
        s = rows.scores(q_chunks[:, start + 1 : stop + 1], doubled(k_chunks, start, stop), start, stop)
        largest = s.amax(-1, keepdim=True)
        p = s.sub_(largest).exp2_()
        found.append((p @ doubled(v_chunks, start, stop), largest, p.sum(-1, keepdim=True)))
    sums, tops, norms = (torch.cat(parts, 1).flatten(1, 2) for parts in zip(*found, strict=True))
    return sums, tops, norms


def backward_rows(
    q: Tensor, k: Tensor, v: Tensor, plan: Plan, lse: Tensor, gy: Tensor, delta: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v: p = 2^(s − lse), ds = p (gy vᵀ − delta)."""
    gq, gk, gv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    per_row = torch.stack([lse, delta], -1)
    for r in range(plan.order_nrl.shape[1]):
        rows = Round(plan, r, q, k, v, gy, per_row)
        found = backward_round(rows, q)
        for whole, sorted_part in zip((gq, gk, gv), found, strict=True):
            whole += take(sorted_part[:, 1:].flatten(1, 2), plan.place_nrl[:, r])
    return gq, gk, gv


def backward_round(rows: Round, q: Tensor) -> list[Tensor]:
    """Gradients in sorted order, (N, 1 + chunks, C, width)."""
    plan = rows.plan
    q_chunks, k_chunks, v_chunks, g_chunks, row_chunks = rows.chunks
    gq, gk, gv = (torch.zeros_like(t) for t in (q_chunks, k_chunks, v_chunks))
    for start, stop in spans(q, plan):
        here, before = slice(start + 1, stop + 1), slice(start, stop)
        q_here, g_here, k_both = q_chunks[:, here], g_chunks[:, here], doubled(k_chunks, start, stop)
        lse, delta = row_chunks[:, here].unbind(-1)
        p = rows.scores(q_here, k_both, start, stop).sub_(lse[..., None]).exp2_()
        gv_both = p.mT @ g_here
        gs = (g_here @ doubled(v_chunks, start, stop).mT).sub_(delta[..., None]).mul_(p).mul_(plan.scale)
        if plan.self_last and rows.r == 0:
            gs.diagonal(plan.chunk, -2, -1).zero_()
        gk_both = gs.mT @ q_here
        gq[:, here] = gs @ k_both
        for whole, both in ((gk, gk_both), (gv, gv_both)):
            whole[:, before] += both[:, :, : plan.chunk]
            whole[:, here] += both[:, :, plan.chunk :]
    return [gq, gk, gv]
