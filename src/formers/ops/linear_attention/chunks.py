"""The mathematics of causal linear attention inside and between chunks.

A sequence is cut into chunks of C tokens. Inside a chunk the scores P are written out; what came before it enters
through the running state S = Σ k vᵀ, z = Σ k. With a decay g per token, D_ij = Π_{j<l≤i} g_l inside the chunk,
a_i = Π_{l≤i} g_l since its start, b_j = Π_{l>j} g_l to its end, and a_C over the whole; all of these are 1 without:

    P = tril(q kᵀ) ⊙ D       y = (P v + a q S)/d       d = P 1 + a q z
    S ← a_C S + (b k)ᵀ v      z ← a_C z + Σ_j b_j k_j

The backward pass runs the same recurrence from the end. With G = dy/d, e = −(G·y)/d the gradient of d, and R, r those
of S and z after the chunk:

    T = (tril(G vᵀ) + e) ⊙ D
    dq = T k + a (G Sᵀ + e z)       dk = Tᵀ q + b (v Rᵀ + r)       dv = Pᵀ G + b k R
    R ← a_C R + (a q)ᵀ G            r ← a_C r + Σ_i e_i a_i q_i

The gradient of log g_l is the sum of all that crosses from before token l, the state or a key, to l or after it, a
query or the next state:

    Σ_{j<l≤i} (q_i·k_j) T_ij + Σ_{i≥l} a_i q_i·(S G_i + e_i z) + Σ_{j<l} b_j k_j·(R v_j + r) + a_C (S·R + z·r)
"""

from __future__ import annotations

import torch
from torch import Tensor, bmm
from torch.nn.functional import pad

from formers.ops.common.tracing import is_left_open
from formers.ops.common.workspace import Workspace
from formers.ops.linear_attention.decay import chunk_decay, log_decay_gradient
from formers.ops.linear_attention.normalizer import safe_divisor
from formers.ops.linear_attention.running_sums import running_sums

CHUNK = 64
"""The most tokens in a chunk: where the work inside chunks, ∝ C, is about that between them, ∝ head width."""


class Chunks:
    """Some heads of some sequences, cut into chunks, with their scores and the states before each: N = B·H·chunks.

    Args:
        workspace: memory for what the next such heads overwrite.
        q, k, v: (B, H, L, ·).
        s0, z0: the state before the first token; without z₀ nothing is normalised.
        log_g: (B, H, L), or None for no decay.

    Attributes:
        q, k, v: (N, C, ·), in the dtype of the state.
        scores: P of the module's docstring, (N, C, C).
        q_in, k_out: a q and b k: queries as the state before their chunk sees them, keys as the state after it does.
        s, z: the states before each chunk, (N, M, V) and (N, 1, M).
        s_end, z_end: the state after the last token.
    """

    def __init__(
        self,
        workspace: Workspace,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        s0: Tensor,
        z0: Tensor | None,
        log_g: Tensor | None,
    ) -> None:
        self.workspace, self.dtype, self.shape = workspace, s0.dtype, q.shape[:3]
        if is_left_open(
            q.shape[2]
        ):  # a graph has chunks of one size, and never a single one, which would be a case apart
            self.count, self.chunk = (q.shape[2] + 2 * CHUNK - 1) // CHUNK, CHUNK
        else:
            self.count = -(-q.shape[2] // CHUNK)
            self.chunk = -(-q.shape[2] // self.count)  # ≤ CHUNK, so that little is filled up
        self.q, self.k, self.v = self._cut(q), self._cut(k), self._cut(v)
        self.scores = self._product("scores", self.q, self.k.mT).tril_()
        self.q_in, self.k_out, self.decay = self.q, self.k, None
        if log_g is not None:
            self.decay = chunk_decay(self._cut(log_g.unsqueeze(3)).squeeze(2), workspace)
            self.scores.mul_(self.decay.between_ncc)
            self.q_in = self._scaled("q in", self.q, self.decay.since_start_nc1)
            self.k_out = self._scaled("k out", self.k, self.decay.to_end_nc1)
        self.s, self.s_end = self._running("s", self.k_out.mT, self.v, s0)
        self.z: Tensor | None = None
        self.z_end: Tensor | None = None
        if z0 is not None:
            ones = self.k.new_ones(1, self.chunk).expand(self.k.shape[0], 1, -1)
            self.z, self.z_end = self._running("z", ones, self.k_out, z0)

    def outputs(self, floor: float) -> Tensor:
        """Return y, (B, H, L, V)."""
        y = self._product("y", self.q_in, self.s).baddbmm_(self.scores, self.v)
        if self.z is not None:
            y /= safe_divisor(self._denominators(self.z), floor)
        return self._join(y)

    def gradients(self, gy: Tensor, gs: Tensor, gz: Tensor | None, floor: float) -> tuple[Tensor | None, ...]:
        """Return the gradients of q, k, v, S₀, z₀ and log g, given those of y, S and z; names are the module's."""
        g, r, gz0, glog = self._cut(gy), None, None, None
        if self.z is not None:
            d = self._denominators(self.z)
            reciprocal = safe_divisor(d, floor).reciprocal_()
            g = self._scaled("g", g, reciprocal)
        dq = self._product("dq", g, self.s.mT)  # of a q, until `through_decay`
        t = self._product("t", g, self.v.mT).tril_()
        if self.z is not None and gz is not None:
            gn = self._row_dot(self.q_in, dq).add_(self._row_dot(self.scores, t))  # g · (y d)
            e = gn.mul_(reciprocal).neg_().masked_fill_(d.abs() < floor, 0)
            dq.addcmul_(e, self.z)
            t.add_(e).tril_()
            r, gz0 = self._running("r", e.mT, self.q_in, gz, backwards=True)
        big_r, gs0 = self._running("R", self.q_in.mT, g, gs, backwards=True)
        dv = self._product("dv", self.k_out, big_r).baddbmm_(self.scores.mT, g)
        dk = self._product("dk", self.v, big_r.mT)  # of b k, until `through_decay`
        if r is not None:
            dk += r
        if self.decay is not None:
            glog = self._through_decay(t, dq, dk, big_r, r)
        dq.baddbmm_(t, self.k)
        dk.baddbmm_(t.mT, self.q)
        return self._join(dq), self._join(dk), self._join(dv), gs0, gz0, glog

    def _through_decay(self, t: Tensor, dq: Tensor, dk: Tensor, big_r: Tensor, r: Tensor | None) -> Tensor:
        """Return the gradient of log g; multiply T and the gradients of a q and b k by D, a and b, in place."""
        assert self.decay is not None
        pairs = torch.mul(self.scores, t, out=self.workspace.out("pairs", *t.shape))
        to_queries = self._row_dot(self.q_in, dq, "products").squeeze(2)
        from_keys = self._row_dot(self.k_out, dk, "products").squeeze(2)
        whole = _matrix_dot(self.s, big_r)
        if self.z is not None and r is not None:
            whole = whole + _matrix_dot(self.z, r)
        whole = whole * self.decay.whole_n11.squeeze(2)
        t.mul_(self.decay.between_ncc)
        dq.mul_(self.decay.since_start_nc1)
        dk.mul_(self.decay.to_end_nc1)
        return self._join(log_decay_gradient(pairs, to_queries, from_keys, whole).unsqueeze(2)).squeeze(3)

    def _cut(self, t_bhlx: Tensor) -> Tensor:
        """Return (N, C, ·), the last chunk filled up with zeros."""
        t_bhlx = t_bhlx.to(self.dtype)
        length, whole = t_bhlx.shape[2], self.count * self.chunk
        if is_left_open(
            length
        ):  # row `length` is zeros: picked, because a slice would be laid out by what it leaves over
            t_bhlx = pad(t_bhlx, (0, 0, 0, 1)).index_select(2, _first(whole, t_bhlx).clamp(max=length))
        elif length < whole:
            t_bhlx = pad(t_bhlx, (0, 0, 0, whole - length))
        return t_bhlx.unflatten(2, (self.count, self.chunk)).flatten(0, 2)

    def _join(self, t_ncx: Tensor) -> Tensor:
        """Return (B, H, L, ·): the inverse of `_cut`."""
        length, whole = self.shape[2], self.count * self.chunk
        t_bhlx = t_ncx.view(*self.shape[:2], whole, t_ncx.shape[2])
        return t_bhlx.index_select(2, _first(length, t_ncx)) if is_left_open(length) else t_bhlx[:, :, :length]

    def _product(self, name: str, a: Tensor, b: Tensor) -> Tensor:
        return bmm(a, b, out=self.workspace.out(name, a.shape[0], a.shape[1], b.shape[2]))

    def _scaled(self, name: str, t: Tensor, factor: Tensor) -> Tensor:
        return torch.mul(t, factor, out=self.workspace.out(name, *t.shape))

    def _row_dot(self, a: Tensor, b: Tensor, scratch: str = "dk") -> Tensor:
        """Return the sum of a ⊙ b over the last axis, kept, made in scratch memory of that name."""
        return torch.mul(a, b, out=self.workspace.out(scratch, *a.shape)).sum(2, keepdim=True)

    def _denominators(self, z: Tensor) -> Tensor:
        return self.scores.sum(2, keepdim=True).add_(bmm(z, self.q_in.mT).mT)

    def _running(
        self, name: str, a: Tensor, b: Tensor, start: Tensor, *, backwards: bool = False
    ) -> tuple[Tensor, Tensor]:
        decay = None if self.decay is None else self.decay.whole_n11
        return running_sums(
            a, b, start, decay, count=self.count, workspace=self.workspace, name=name, backwards=backwards
        )


def _first(count: int, like: Tensor) -> Tensor:
    """Return 0, 1, …, count − 1 on the device of a tensor."""
    return torch.arange(count, device=like.device)


def _matrix_dot(a_nxy: Tensor, b_nxy: Tensor) -> Tensor:
    """Return Σ a ⊙ b of each of N matrices, (N, 1)."""
    return bmm(a_nxy.reshape(len(a_nxy), 1, -1), b_nxy.reshape(len(b_nxy), -1, 1)).squeeze(2)
