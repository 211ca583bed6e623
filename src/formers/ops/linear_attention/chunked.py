"""Causal linear attention, chunk by chunk.

The sequence is cut into chunks of C tokens. Inside a chunk the scores are written out, tril(q kᵀ) v; what came before a
chunk enters through the running state S = Σ k vᵀ, as q S. Heads are worked on in pieces that fit the cache, and each product
runs over all chunks of a piece at once. Only the inputs are kept for the backward pass, which makes scores and states again
and runs the same recurrence from the end: with g = dy/d,

    dq = g Sᵀ + tril(g vᵀ + e) k + e z      R = Σ_later qᵀ g         d = tril(q kᵀ) 1 + q z
    dk = v Rᵀ + tril(g vᵀ + e)ᵀ q + r       r = Σ_later e q          e = −(g · y)/d, the gradient of d
    dv = k R  + tril(q kᵀ)ᵀ g

Time enters in two places only, `tril` and `running`; a decay per step would be a factor in both.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, bmm
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from formers.ops.common.dtypes import accumulation_dtype, without_autocast
from formers.ops.common.workspace import Workspace, should_tile

CHUNK = 64
"""The most tokens in a chunk: where the work inside chunks, ∝ C, is about that between them, ∝ head width."""
TOKENS_AT_ONCE = 4096
"""Heads × tokens in a piece on a CPU, one head at least, so that its scores and states stay in the cache."""


def guarded_reciprocal(d: Tensor, floor: float) -> Tensor:
    """1/d with the guard that `linear_attention` documents: d kept `floor` away from zero, and 0 for d = 0."""
    tiny = d.abs() < floor
    return torch.where(tiny, d.sign() / floor, d.masked_fill(tiny, 1).reciprocal())


class CausalLinear(torch.autograd.Function):
    """(q, k, v, S₀, z₀ or None, floor) → (y, S, z or None). Without z₀ nothing is normalised."""

    @staticmethod
    def forward(
        q: Tensor, k: Tensor, v: Tensor, s0: Tensor, z0: Tensor | None, floor: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        y = v.new_empty(*q.shape[:3], v.shape[3])
        s, z = torch.empty_like(s0), None if z0 is None else torch.empty_like(z0)
        room = Workspace(s0, s0.dtype, enabled=should_tile(q))
        for i in _pieces(q):
            piece = _Piece(room, q[i], k[i], v[i], s0[i], None if z0 is None else z0[i])
            y[i], s[i] = piece.outputs(floor), piece.s_end
            if z is not None and piece.z_end is not None:
                z[i] = piece.z_end
        return y, s, z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.floor = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, gs: Tensor, gz: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        q, k, v, s0, z0 = inputs
        grads = [None if t is None else torch.empty_like(t) for t in inputs]
        room = Workspace(s0, s0.dtype, enabled=should_tile(q))
        for i in _pieces(q):
            with without_autocast(q.device):
                piece = _Piece(room, q[i], k[i], v[i], s0[i], None if z0 is None else z0[i])
                found = piece.gradients(gy[i], gs[i], None if gz is None else gz[i], ctx.floor)
            for whole, part in zip(grads, found, strict=True):
                if whole is not None and part is not None:
                    whole[i] = part
        return *grads, None


def _pieces(q_bhlm: Tensor) -> list[tuple[slice, slice]]:
    """Which rows and heads to work on at once."""
    batch, heads, length, _ = q_bhlm.shape
    if not should_tile(q_bhlm):
        return [(slice(None), slice(None))]
    step_h = min(max(TOKENS_AT_ONCE // length, 1), heads)
    step_b = min(max(TOKENS_AT_ONCE // (length * heads), 1), batch)
    return [
        (slice(b, b + step_b), slice(h, h + step_h)) for b in range(0, batch, step_b) for h in range(0, heads, step_h)
    ]


class _Piece:
    """Some heads of some rows, as chunks: (rows·heads·chunks, C, width) in float32 or wider, with scores and states."""

    def __init__(self, room: Workspace, q: Tensor, k: Tensor, v: Tensor, s0: Tensor, z0: Tensor | None) -> None:
        self.room, self.shape = room, q.shape[:3]
        self.count = -(-q.shape[2] // CHUNK)
        self.chunk = -(-q.shape[2] // self.count)  # ≤ CHUNK, so that little is filled up
        self.q, self.k, self.v = self.cut(q), self.cut(k), self.cut(v)
        self.scores = self.product("scores", self.q, self.k.mT).tril_()
        self.s, self.s_end = self.running("s", self.k.mT, self.v, s0)
        self.z: Tensor | None = None
        self.z_end: Tensor | None = None
        if z0 is not None:
            self.z, self.z_end = self.running(
                "z", self.k.new_ones(1, self.chunk).expand(len(self.k), 1, -1), self.k, z0
            )

    def cut(self, t_bhlx: Tensor) -> Tensor:
        """Into chunks, the last filled up with zeros."""
        t_bhlx = t_bhlx.to(accumulation_dtype(t_bhlx.dtype))
        missing = self.count * self.chunk - t_bhlx.shape[2]
        t_bhlx = pad(t_bhlx, (0, 0, 0, missing)) if missing else t_bhlx
        return t_bhlx.reshape(-1, self.chunk, t_bhlx.shape[3])

    def join(self, t_ncx: Tensor) -> Tensor:
        """The inverse of `cut`."""
        return t_ncx.view(*self.shape[:2], -1, t_ncx.shape[2])[:, :, : self.shape[2]]

    def product(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        """a b, in memory that a later piece uses again."""
        return bmm(a, b, out=self.room.out(name, len(a), a.shape[1], b.shape[2]))

    def running(
        self, name: str, a: Tensor, b: Tensor, start: Tensor, *, backwards: bool = False
    ) -> tuple[Tensor, Tensor]:
        """`start` and the products a b of every earlier (`backwards`: later) chunk, summed, for each; and the sum of all."""
        shape = (-1, self.count, a.shape[1], b.shape[2])
        first = start.reshape(-1, 1, *shape[2:])
        if not self.room.enabled or a.shape[1] == 1:
            steps = bmm(a, b).view(shape)
            sums = torch.cat([steps, first] if backwards else [first, steps], 1)
            sums = sums.flip(1).cumsum(1).flip(1) if backwards else sums.cumsum(1)
            each, end = (sums[:, 1:], sums[:, 0]) if backwards else (sums[:, :-1], sums[:, -1])
            return each.flatten(0, 1), end.reshape(start.shape)
        # On a CPU, cumsum goes down one column after another; adding whole matrices is several times faster. Each product is
        # written to where its sum belongs, one chunk on: the last of a row to where the next row starts.
        slots = self.room.empty(name, len(a) + 1, *shape[2:])
        steps, each = (slots[:-1], slots[1:]) if backwards else (slots[1:], slots[:-1])
        end = bmm(a, b, out=steps).view(shape)[:, 0 if backwards else -1].clone()
        in_time = each.view(shape).unbind(1)
        in_turn = in_time[::-1] if backwards else in_time
        in_turn[0].copy_(first.squeeze(1))
        for before, after in pairwise(in_turn):
            after.add_(before)
        return each, end.add_(in_turn[-1]).view(start.shape)

    def denominators(self, z: Tensor) -> Tensor:
        return self.scores.sum(2, keepdim=True).add_(bmm(z, self.q.mT).mT)

    def outputs(self, floor: float) -> Tensor:
        y = self.product("y", self.q, self.s).baddbmm_(self.scores, self.v)
        if self.z is not None:
            y *= guarded_reciprocal(self.denominators(self.z), floor)
        return self.join(y)

    def gradients(self, gy: Tensor, gs: Tensor, gz: Tensor | None, floor: float) -> tuple[Tensor | None, ...]:
        """Of q, k, v, S₀ and z₀. The names are those of the module's docstring."""
        q, k, v, g, gz0 = self.q, self.k, self.v, self.cut(gy), None
        if self.z is not None:
            d = self.denominators(self.z)
            reciprocal = guarded_reciprocal(d, floor)
            g = torch.mul(g, reciprocal, out=self.room.out("g", *g.shape))
        dq = self.product("dq", g, self.s.mT)
        gv = self.product("gv", g, v.mT).tril_()
        if self.z is not None and gz is not None:
            gn = self.dot(q, dq).add_(self.dot(self.scores, gv))  # g · (y d)
            e = gn.mul_(reciprocal).neg_().masked_fill_(d.abs() < floor, 0)
            dq.addcmul_(e, self.z)
            gv.add_(e).tril_()
            r, gz0 = self.running("z", e.mT, q, gz, backwards=True)
        big_r, gs0 = self.running("r", q.mT, g, gs, backwards=True)
        dq.baddbmm_(gv, k)
        dk = self.product("dk", v, big_r.mT).baddbmm_(gv.mT, q)
        if gz0 is not None:
            dk += r
        dv = self.product("dv", k, big_r).baddbmm_(self.scores.mT, g)
        return self.join(dq), self.join(dk), self.join(dv), gs0, gz0

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Row by row."""
        return torch.mul(a, b, out=self.room.out("dk", *a.shape)).sum(2, keepdim=True)
