"""Exact attention over lists of keys: gather, a few batched products, scatter. Work and memory ∝ the listed pairs.

The scores of a piece, some blocks of queries of some heads, stay in the cache. Only the inputs are kept for the backward
pass, which makes the scores again: with p = softmax(s), s = scale·q kᵀ + bias, and g the gradient of y = p v,

    ds = p ⊙ (g vᵀ − rowsum(p ⊙ g vᵀ) + gz)    dq = scale·ds k    dk = scale·dsᵀ q    dv = pᵀ g

where gz is the gradient of z = log Σ exp s, which is given out where parts of a softmax are to be merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, bmm
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from formers.ops.layout import Group, Layout
from formers.ops.precision import without_autocast

SCORES_AT_ONCE = 1 << 19
"""Scores in a piece on a CPU, so that they stay in its cache. Other devices take 256 times as many."""

PairBias: TypeAlias = Callable[[int, Tensor, Tensor], Tensor]
"""`bias(b, q_nl, k_ns)`: what is added to the scores of row b of the batch between queries (n, l) and keys (n, s), given by
their places in q and k, (n, H or 1, l, s)."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is computed: for each layout the heads that have it, and what changes the scores.

    Attributes:
        parts: layouts and their heads.
        scale: factor of the scores.
        bias: added to the scores, or None.
        normalizer: whether z = log Σ exp s is wanted beside y.
    """

    parts: tuple[tuple[Layout, tuple[int, ...]], ...]
    scale: float
    bias: PairBias | None
    normalizer: bool = False


class Piece(NamedTuple):
    """Some blocks of a group for some heads of some rows.

    Attributes:
        group: the blocks.
        n: which of them.
        b_p, h_p: row and head of each copy of them, (p,).
        row: the first of the rows.
    """

    group: Group
    n: slice
    b_p: Tensor
    h_p: Tensor
    row: int

    @property
    def q_nl(self) -> Tensor:
        return self.group.q_nl[self.n]

    @property
    def k_ns(self) -> Tensor:
        return self.group.k_ns[self.n]


def pieces(plan: Plan, q: Tensor, whole: bool = False) -> Iterator[Piece]:
    """Everything there is to compute, in pieces; `whole`: as few as there can be."""
    most = SCORES_AT_ONCE if q.device.type in ("cpu", "meta") else 256 * SCORES_AT_ONCE
    for layout, heads in plan.parts:
        b_all = torch.arange(q.shape[0], device=q.device).repeat_interleave(len(heads))
        h_all = torch.tensor(heads, device=q.device).repeat(q.shape[0])
        copies = len(heads) if plan.bias is not None else len(b_all)  # a bias is asked for row by row
        for group in layout.groups:
            count, rows = group.q_nl.shape
            scores = rows * group.k_ns.shape[1]
            step_n = count if whole else min(count, max(most // scores, 1))
            step_p = copies if whole else min(copies, max(most // (scores * step_n), 1))
            for first in range(0, len(b_all), copies):
                for p in range(first, first + copies, step_p):
                    here = slice(p, min(p + step_p, first + copies))
                    for n in range(0, count, step_n):
                        yield Piece(group, slice(n, n + step_n), b_all[here], h_all[here], p // len(heads))


class Rows(NamedTuple):
    """A tensor (B, H, L, K) as rows of K numbers, without a copy where its strides allow."""

    flat: Tensor
    steps: tuple[int, int, int]

    def at(self, b_p: Tensor, h_p: Tensor, t_nx: Tensor) -> Tensor:
        """Where the rows of these tokens are, flat."""
        b, h, t = self.steps
        return ((b_p * b + h_p * h).view(-1, 1, 1) + t_nx * t).flatten()

    def take(self, index: Tensor, size: int, dtype: torch.dtype) -> Tensor:
        """(p·n, size, K)."""
        return self.flat.index_select(0, index).view(-1, size, self.flat.shape[1]).to(dtype)


def as_rows(t: Tensor) -> Rows:
    batch, heads, length, width = t.shape
    b, h, n, one = t.stride()
    reach = (batch - 1) * b + (heads - 1) * h + (length - 1) * n + width
    fits = one == 1 and not (b % width or h % width or n % width) and t.numel() and reach % width == 0
    if fits and not torch.compiler.is_compiling() and reach == t.numel():
        return Rows(t.as_strided((reach // width, width), (width, 1)), (b // width, h // width, n // width))
    return Rows(t.reshape(-1, width), (heads * length, length, 1))


def like_rows(t: Tensor, rows: Rows, dtype: torch.dtype) -> Tensor:
    """Zeros for every row, in the order of `rows`."""
    return t.new_zeros(rows.flat.shape, dtype=dtype)


def unrow(flat: Tensor, t: Tensor, rows: Rows) -> Tensor:
    """Rows back to the shape of the tensor they were of."""
    b, h, n = rows.steps
    width = flat.shape[1]
    return flat.as_strided((*t.shape[:3], width), (b * width, h * width, n * width, 1))


class Gathered(torch.autograd.Function):
    """(q, k, v, key mask or None, plan) → y (B, H, L, V), and z (B, H, L), empty where it is not wanted."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
        inputs = Inputs(q, k, v, mask_bs, plan)
        y_rows = Rows(q.new_zeros(q.shape[0] * q.shape[1] * q.shape[2], v.shape[3]), heads_last(q))
        z = q.new_full((len(y_rows.flat) if plan.normalizer else 0,), -torch.inf, dtype=inputs.work)
        for piece in pieces(plan, q):
            here = inputs.at(piece)
            s = inputs.scores(piece, here)
            p, _ = weights(s, inputs.sure)
            index = y_rows.at(piece.b_p, piece.h_p, piece.q_nl)
            y = bmm(p, here.v)
            y_rows.flat.index_copy_(0, index, y.flatten(0, 1).to(q.dtype))
            if plan.normalizer:
                z.index_copy_(0, index, s.logsumexp(2).flatten())
        return turned(y_rows.flat, q), turned(z.unsqueeze(1), q).squeeze(3) if plan.normalizer else z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.plan = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, gz: Tensor) -> tuple[Tensor | None, ...]:
        with without_autocast(gy.device):
            return Gathered.gradients(ctx, gy, gz)

    @staticmethod
    def gradients(ctx: Any, gy: Tensor, gz: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask_bs = ctx.saved_tensors
        inputs = Inputs(q, k, v, mask_bs, ctx.plan)
        dq, dk, dv = (like_rows(t, rows, inputs.work) for t, rows in ((q, inputs.q), (k, inputs.k), (v, inputs.v)))
        gy_rows = as_rows(gy)
        for piece in pieces(ctx.plan, q):
            here = inputs.at(piece)
            p, alive = weights(inputs.scores(piece, here), inputs.sure)
            rows = piece.q_nl.shape[1]
            g = gy_rows.take(gy_rows.at(piece.b_p, piece.h_p, piece.q_nl), rows, inputs.work)
            dp = bmm(g, here.v.mT)
            ds = torch._softmax_backward_data(dp, p, 2, p.dtype)
            if ctx.plan.normalizer:
                gz_p = gz[piece.b_p[:, None, None], piece.h_p[:, None, None], piece.q_nl].reshape(-1, rows, 1)
                ds = ds.addcmul_(p, gz_p.where(alive, 0) if alive is not None else gz_p)
            dq.index_copy_(0, here.q_at, scaled_bmm(ds, here.k, ctx.plan.scale).flatten(0, 1))
            dk.index_add_(0, here.k_at, scaled_bmm(ds.mT, here.q, ctx.plan.scale).flatten(0, 1))
            dv.index_add_(0, here.v_at, bmm(p.mT, g).flatten(0, 1))
        found = ((dq, q, inputs.q), (dk, k, inputs.k), (dv, v, inputs.v))
        return *(unrow(d.to(t.dtype), t, rows) for d, t, rows in found), None, None


def heads_last(q: Tensor) -> tuple[int, int, int]:
    """The steps of a result (B, H, L, V) that lies in memory as (B, L, H, V), as what follows wants it."""
    _, heads, length, _ = q.shape
    return heads * length, 1, heads


class Here(NamedTuple):
    """Queries, keys and values of a piece, (p·n, l or s, K or V), and the rows they come from."""

    q: Tensor
    k: Tensor
    v: Tensor
    q_at: Tensor
    k_at: Tensor
    v_at: Tensor


class Inputs:
    """Queries, keys and values as rows, and the scores of a piece of them."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: Plan):
        self.q, self.k, self.v, self.mask_bs, self.plan = as_rows(q), as_rows(k), as_rows(v), mask_bs, plan
        self.shared = q.shape[1] // k.shape[1]
        self.work = torch.promote_types(q.dtype, torch.float32)
        self.sure = mask_bs is None and plan.bias is None  # a layout leaves out queries that see nothing

    def at(self, piece: Piece) -> Here:
        """The queries, keys and values of a piece."""
        rows, keys, g_p = piece.q_nl.shape[1], piece.k_ns.shape[1], piece.h_p // self.shared
        q_at, k_at = self.q.at(piece.b_p, piece.h_p, piece.q_nl), self.k.at(piece.b_p, g_p, piece.k_ns)
        v_at = k_at if self.v.steps == self.k.steps else self.v.at(piece.b_p, g_p, piece.k_ns)
        q, k, v = (
            self.q.take(q_at, rows, self.work),
            self.k.take(k_at, keys, self.work),
            self.v.take(v_at, keys, self.work),
        )
        return Here(q, k, v, q_at, k_at, v_at)

    def scores(self, piece: Piece, here: Here) -> Tensor:
        """(p·n, l, s), −inf where a pair is hidden."""
        (_, rows, _), (_, keys, _), q, k = here.q.shape, here.k.shape, here.q, here.k
        hidden = piece.group.hidden_uls
        if hidden is not None and len(hidden) == 1:  # one mask for all: added in the product itself
            start = q.new_zeros(rows, keys).masked_fill_(hidden[0], -torch.inf)
            s = torch.baddbmm(start.expand(len(q), -1, -1), q, k.mT, alpha=self.plan.scale)
        else:
            s = scaled_bmm(q, k.mT, self.plan.scale)
            if hidden is not None:
                some = hidden.index_select(0, piece.group.which_n[piece.n])
                s.view(len(piece.b_p), -1, rows, keys).masked_fill_(some, -torch.inf)
        if self.plan.bias is not None:
            s.add_(bias_of(self.plan.bias, piece, s.dtype))
        if self.mask_bs is not None:
            real = self.mask_bs[piece.b_p[:, None, None], piece.k_ns]
            s.view(len(piece.b_p), -1, rows, keys).masked_fill_(~real.unsqueeze(2), -torch.inf)
        return s


def scaled_bmm(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale · a b."""
    return torch.baddbmm(a.new_zeros(()).expand(len(a), a.shape[1], b.shape[2]), a, b, beta=0, alpha=scale)


def bias_of(bias: PairBias, piece: Piece, dtype: torch.dtype) -> Tensor:
    """The bias of a piece, all of one row of the batch, (p·n, l, s)."""
    added = bias(piece.row, piece.q_nl, piece.k_ns).transpose(0, 1)
    added = added.expand(len(piece.h_p), *added.shape[1:]) if len(added) == 1 else added.index_select(0, piece.h_p)
    return added.flatten(0, 1).to(dtype)


def weights(s: Tensor, sure: bool) -> tuple[Tensor, Tensor | None]:
    """The softmax of every row, and which rows see something at all; the others become zeros. `sure`: all do."""
    if sure:
        return s.softmax(2), None
    alive = s.amax(2, keepdim=True) > -torch.inf
    return s.masked_fill(~alive, 0).softmax(2).masked_fill(~alive, 0), alive


def normalizer(s: Tensor) -> Tensor:
    """z = log Σ exp s of every row, −inf and without a gradient where nothing is seen."""
    dead = (s == -torch.inf).all(2)
    return s.masked_fill(dead.unsqueeze(2), 0).logsumexp(2).masked_fill(dead, -torch.inf)


def by_autograd(q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """What `Gathered` computes, differentiated by autograd: for a bias that learns, and for compilers. The same cost, as
    every piece is computed again in the backward pass; compilers decide that for themselves."""
    inputs = Inputs(q, k, v, mask_bs, plan)
    y_steps, compiling = heads_last(q), torch.compiler.is_compiling()

    def one(piece: Piece, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        own = Inputs(tensors[0], tensors[1], tensors[2], mask_bs, plan)
        here = own.at(piece)
        s = own.scores(piece, here)
        p, _ = weights(s, own.sure)
        return bmm(p, here.v).to(q.dtype), normalizer(s) if plan.normalizer else s[:0, 0, 0]

    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for piece in pieces(plan, q, whole=compiling):
        y, z = one(piece, q, k, v) if compiling else checkpoint(one, piece, q, k, v, use_reentrant=False)
        found.append((Rows(q, y_steps).at(piece.b_p, piece.h_p, piece.q_nl), y.flatten(0, 1), z.flatten()))
    batch, heads, length, _ = q.shape
    y = q.new_zeros(batch * heads * length, v.shape[3])
    if found:
        index, parts, _ = (torch.cat(list(some)) for some in zip(*found, strict=True))
        y = y.index_copy(0, index, parts)
    z = q.new_full((batch * heads * length if plan.normalizer else 0,), -torch.inf, dtype=inputs.work)
    if found and plan.normalizer:
        z = z.index_copy(0, index, torch.cat([z for _, _, z in found]))
    return turned(y, q), turned(z.unsqueeze(1), q).squeeze(3) if plan.normalizer else z


def turned(flat: Tensor, q: Tensor) -> Tensor:
    """Rows that lie as (B, L, H) to (B, H, L, ·)."""
    return flat.view(q.shape[0], q.shape[2], q.shape[1], flat.shape[1]).transpose(1, 2)
