"""Exact attention over lists of keys: gather, a few batched products, scatter. Work and memory ∝ the listed pairs.

The scores of a piece, some blocks of queries of some heads, stay in the cache. Only the inputs are kept for the backward
pass, which makes the scores again: with p = softmax(s), s = scale·q kᵀ + bias, and g the gradient of y = p v,

    ds = p ⊙ (g vᵀ − rowsum(p ⊙ g vᵀ) + gz)    dq = scale·ds k    dk = scale·dsᵀ q    dv = pᵀ g

where gz is the gradient of z = log Σ exp s, which is given out where parts of a softmax are to be merged.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, bmm
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from formers.ops.common.dtypes import without_autocast
from formers.ops.common.row_index import (
    RowIndex,
    Rows,
    as_rows,
    contiguous_strides,
    from_heads_last,
    heads_last_strides,
    scaled_bmm,
)
from formers.ops.common.workspace import Workspace
from formers.ops.layout import Group, Layout

_SCORES_AT_ONCE = 1 << 19
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

    def results(self, q: Tensor, width: int, dtype: torch.dtype) -> Tensor:
        """Room for as many numbers for each query of q, (B·H·L, width): zeros, unless all of it will be written."""
        whole = all(layout.queries == q.shape[2] for layout, _ in self.parts)
        new = q.new_empty if whole else q.new_zeros
        return new(q.shape[0] * q.shape[1] * q.shape[2], width, dtype=dtype)


class _Piece(NamedTuple):
    """Some blocks of a group for some heads of some rows.

    Attributes:
        group: the blocks.
        n: which of them.
        rows, heads: rows of the batch, and heads of each, (r,) and (h,).
    """

    group: Group
    n: slice
    rows: range
    heads: Sequence[int]

    @property
    def queries(self) -> RowIndex:
        return RowIndex(self.rows, self.heads, self.group.q_nl[self.n], _later(self.group.q_runs, self.n.start))

    def keys(self, shared: int) -> RowIndex:
        """`shared`: how many query heads share one of keys."""
        heads = self.heads if shared == 1 else [head // shared for head in self.heads]
        return RowIndex(self.rows, heads, self.group.k_ns[self.n], _later(self.group.k_runs, self.n.start))

    def of_rows(self, t_bx: Tensor, index_nx: Tensor) -> Tensor:
        """What the rows of the batch have at these tokens, (r·h, n, x)."""
        found = t_bx[self.rows.start : self.rows.stop, index_nx]
        return found.repeat_interleave(len(self.heads), 0)


def _later(runs: tuple[int, int] | None, count: int) -> tuple[int, int] | None:
    return None if runs is None else (runs[0] + count * runs[1], runs[1])


def _pieces(plan: Plan, q: Tensor, whole: bool = False) -> Iterator[_Piece]:
    """Everything there is to compute, in pieces; `whole`: as few as there can be. All heads together where that is possible:
    they are neighbours in memory."""
    most = _SCORES_AT_ONCE if q.device.type in ("cpu", "meta") else 256 * _SCORES_AT_ONCE
    for layout, heads in plan.parts:
        for group in layout.groups:
            count, queries = group.q_nl.shape
            room = sys.maxsize if whole else most // (queries * group.k_ns.shape[1])  # for copies of a block
            alone = group.k_runs is not None and count >= room // 2  # so many lists of one head are views
            step_h = 1 if alone else max(min(len(heads), room), 1)
            step_n = max(min(count, room // step_h), 1)
            step_b = max(min(len(q), room // (step_h * step_n)), 1) if plan.bias is None else 1  # asked for row by row
            for b, h, n in itertools.product(
                range(0, len(q), step_b), range(0, len(heads), step_h), range(0, count, step_n)
            ):
                rows, some = range(b, min(b + step_b, len(q))), heads[h : h + step_h]
                yield _Piece(group, slice(n, n + step_n), rows, some)


class Gathered(torch.autograd.Function):
    """(q, k, v, key mask or None, plan) → y (B, H, L, V), and z (B, H, L), empty where it is not wanted."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
        inputs = _Inputs(q, k, v, mask_bs, plan)
        y = Rows(plan.results(q, v.shape[3], q.dtype), heads_last_strides(q))
        z = q.new_full((len(y.flat) if plan.normalizer else 0, 1), -torch.inf, dtype=inputs.work)
        for piece in _pieces(plan, q):
            here = inputs.at(piece)
            s = inputs.scores(piece, here)
            if plan.normalizer:
                Rows(z, y.strides).scatter(here.queries, s.logsumexp(2, keepdim=True))
            p, _ = inputs.weights(s)
            y.scatter(here.queries, bmm(p, here.v, out=inputs.room.out("y", *p.shape[:2], v.shape[3])))
        return from_heads_last(y.flat, q), from_heads_last(z, q).squeeze(3) if plan.normalizer else z

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
        inputs, scale, gy_rows = _Inputs(q, k, v, mask_bs, ctx.plan), ctx.plan.scale, as_rows(gy)
        room, work = inputs.room, inputs.work
        dq = Rows(ctx.plan.results(q, q.shape[3], work), contiguous_strides(q))
        dk, dv = (
            Rows(t.new_zeros(t.numel() // t.shape[3], t.shape[3], dtype=work), contiguous_strides(t)) for t in (k, v)
        )
        for piece in _pieces(ctx.plan, q):
            here = inputs.at(piece)
            queries, keys = here.queries, here.keys
            p, alive = inputs.weights(inputs.scores(piece, here))
            g = gy_rows.gather(queries, inputs.work, room, "g")
            dv.scatter_add_product(keys, p.mT, g, 1.0, room)
            dp = bmm(g, here.v.mT, out=room.out("dp", *p.shape))
            ds = torch._softmax_backward_data(dp, p, 2, p.dtype, grad_input=room.reuse(dp))
            if ctx.plan.normalizer:
                gz_p = as_rows(gz.unsqueeze(3)).gather(queries, inputs.work, room, "gz")
                ds = ds.addcmul_(p, gz_p.where(alive, 0) if alive is not None else gz_p)
            dq.scatter_product(queries, ds, here.k, scale, room)
            dk.scatter_add_product(keys, ds.mT, here.q, scale, room)
        return *(rows.flat.view_as(t).to(t.dtype) for rows, t in ((dq, q), (dk, k), (dv, v))), None, None


class _Here(NamedTuple):
    """Queries, keys and values of a piece, (p, l or s, K or V), p the rows, heads and blocks, and where they are."""

    q: Tensor
    k: Tensor
    v: Tensor
    queries: RowIndex
    keys: RowIndex


class _Inputs:
    """Queries, keys and values as rows, and the scores and weights of a piece of them. `keep`: each in memory of its own."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: Plan, keep: bool = False):
        self.q, self.k, self.v, self.mask_bs, self.plan = as_rows(q), as_rows(k), as_rows(v), mask_bs, plan
        self.shared = q.shape[1] // k.shape[1]
        self.work = torch.promote_types(q.dtype, torch.float32)
        self.sure = mask_bs is None and plan.bias is None  # a layout leaves out queries that see nothing
        self.room = Workspace(q, self.work, enabled=not keep)

    def at(self, piece: _Piece) -> _Here:
        """The queries, keys and values of a piece."""
        at_q, at_k = piece.queries, piece.keys(self.shared)
        q, k, v = self.take("q", self.q, at_q), self.take("k", self.k, at_k), self.take("v", self.v, at_k)
        return _Here(q, k, v, at_q, at_k)

    def take(self, name: str, of: Rows, where: RowIndex) -> Tensor:
        return of.gather(where, self.work, self.room, name)

    def scores(self, piece: _Piece, here: _Here) -> Tensor:
        """(p·n, l, s), −inf where a pair is hidden."""
        (_, rows, _), (_, keys, _), q, k = here.q.shape, here.k.shape, here.q, here.k
        out = self.room.out("s", len(q), rows, keys)
        hidden = piece.group.hidden_uls
        if hidden is not None and len(hidden) == 1:  # one mask for all: added in the product itself
            start = q.new_zeros(rows, keys).masked_fill_(hidden[0], -torch.inf)
            s = torch.baddbmm(start.expand(len(q), -1, -1), q, k.mT, alpha=self.plan.scale, out=out)
        else:
            s = scaled_bmm(q, k.mT, self.plan.scale, out=out)
            if hidden is not None:
                some = hidden.index_select(0, piece.group.which_n[piece.n])
                s.view(-1, len(some), rows, keys).masked_fill_(some, -torch.inf)
        if self.plan.bias is not None:
            s.add_(_bias_of(self.plan.bias, piece, s.dtype))
        if self.mask_bs is not None:
            real = piece.of_rows(self.mask_bs, piece.group.k_ns[piece.n])
            s.view(*real.shape[:2], rows, keys).masked_fill_(~real.unsqueeze(2), -torch.inf)
        return s

    def weights(self, s: Tensor) -> tuple[Tensor, Tensor | None]:
        """The softmax of every row, and which rows see something at all, None if all do; the others become zeros."""
        if self.sure:
            return torch.softmax(s, 2, out=self.room.reuse(s)), None
        alive = s.amax(2, keepdim=True) > -torch.inf
        return s.masked_fill(~alive, 0).softmax(2).masked_fill(~alive, 0), alive


def _bias_of(bias: PairBias, piece: _Piece, dtype: torch.dtype) -> Tensor:
    """The bias of a piece, all of one row of the batch, (p, l, s)."""
    added = bias(piece.rows[0], piece.group.q_nl[piece.n], piece.group.k_ns[piece.n]).transpose(0, 1)
    alike = len(added) == 1
    added = added.expand(len(piece.heads), *added.shape[1:]) if alike else added[list(piece.heads)]
    return added.flatten(0, 1).to(dtype)


def _normalizer(s: Tensor) -> Tensor:
    """z = log Σ exp s of every row, −inf and without a gradient where nothing is seen."""
    dead = (s == -torch.inf).all(2)
    return s.masked_fill(dead.unsqueeze(2), 0).logsumexp(2).masked_fill(dead, -torch.inf)


def by_autograd(q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """What `Gathered` computes, differentiated by autograd: for a bias that learns, and for compilers. The same cost, as
    every piece is computed again in the backward pass; compilers decide that for themselves."""
    inputs = _Inputs(q, k, v, mask_bs, plan)
    y_steps, compiling = heads_last_strides(q), torch.compiler.is_compiling()

    def one(piece: _Piece, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        own = _Inputs(tensors[0], tensors[1], tensors[2], mask_bs, plan, keep=True)
        here = own.at(piece)
        s = own.scores(piece, here)
        p, _ = own.weights(s)
        return bmm(p, here.v).to(q.dtype), _normalizer(s) if plan.normalizer else s[:0, 0, 0]

    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for piece in _pieces(plan, q, whole=compiling):
        y, z = one(piece, q, k, v) if compiling else checkpoint(one, piece, q, k, v, use_reentrant=False)
        found.append((piece.queries.flat(y_steps), y.flatten(0, 1), z.flatten()))
    batch, heads, length, _ = q.shape
    y = q.new_zeros(batch * heads * length, v.shape[3])
    if found:
        index, parts, _ = (torch.cat(list(some)) for some in zip(*found, strict=True))
        y = y.index_copy(0, index, parts)
    z = q.new_full((batch * heads * length if plan.normalizer else 0,), -torch.inf, dtype=inputs.work)
    if found and plan.normalizer:
        z = z.index_copy(0, index, torch.cat([z for _, _, z in found]))
    return from_heads_last(y, q), from_heads_last(z.unsqueeze(1), q).squeeze(3) if plan.normalizer else z
