"""Attention inside buckets, sorted and cut into tiles: how `bucketed_attention` is computed.

In each round tokens lie in the order (bucket, position), cut into tiles of T. Most pairs that meet lie in one tile or in
neighbours: a tile's scores are a matrix product with itself and the tile before. A causal token may also meet one that lies
`chunk` places before it; with T = chunk/2, half of what a bucket holds on average is nearer than that, and only the tiles
whose first bucket reaches further back are worked on once more, with the tile before those. Parts are merged by the sums of
their weights: with z = log₂ Σ 2^s,

    z = log₂(2^z₁ + 2^z₂)        y = 2^(z₁ − z) y₁ + 2^(z₂ − z) y₂

and so are rounds, a pair that met in an earlier round being hidden in a later one. Scores are made again in the backward
pass: with p = 2^(s − z) and g the gradient of y,

    ds = p ⊙ (g vᵀ − g·y)        dq = scale·ds k        dk = scale·dsᵀ q        dv = pᵀ g
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, bmm
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from formers.ops.common.workspace import Workspace, should_tile

SCORES_AT_ONCE = 1 << 19
"""Scores in a piece on a CPU, so that they stay in its cache from the product to the sum."""
SMALLEST = 32
"""The fewest tokens in a tile that chunks are halved to: below, products are no faster for it."""
NOTHING = -1e30
"""The score of a hidden pair. Finite, so that a row without any pair in one round gives no NaN."""
ITSELF = -1e5
"""The score of a token with itself where that is the last resort."""
_LOG2_E = math.log2(math.e)
"""Scores are taken to base 2: on a CPU exp2 is several times faster than exp, which is slowest on what underflows."""


class _Plan(NamedTuple):
    """How rows (batch · heads) are worked on, in each round; L is a multiple of `tile` here, l counts an empty tile in front.

    Attributes:
        order_rnl: which token of all rows' is at each place of the sorted sequence.
        place_rnL: at which place each token is: the inverse.
        u_pnl: i meets j in a round where 0 ≤ u_i − u_j ≤ reach; for round r in the order of r, after those of all earlier
            rounds in the order of r, p = r(r+1)/2 + (0 … r).
        reach: see there.
        back: how many tiles before its own a token may reach into, 1 or 2.
    """

    order_rnl: Tensor
    place_rnL: Tensor
    u_pnl: Tensor
    reach: float
    tile: int
    back: int
    self_last: bool
    scale: float

    def of_rows(self, rows: slice) -> _Plan:
        order, place, u = (t[:, rows] for t in self[:3])
        return self._replace(order_rnl=order, place_rnL=place, u_pnl=u)


def by_tiles(
    q: Tensor,
    k: Tensor | None,
    v: Tensor,
    bucket_bhrl: Tensor,
    mask_bl: Tensor | None,
    chunk: int,
    causal: bool,
    self_last: bool,
    scale: float,
) -> Tensor:
    """Sorted, cut into tiles, each a matrix product with itself and the tile before."""
    batch, heads, length, _ = q.shape
    chunk = min(chunk, length)
    back = 2 if causal and should_tile(q) and chunk % 2 == 0 and chunk >= 2 * SMALLEST else 1
    missing = -length % (chunk // back)
    real = q.new_ones(batch, length, dtype=torch.bool) if mask_bl is None else mask_bl
    real = pad(real, (0, missing))
    bucket = pad(bucket_bhrl, (0, missing)).masked_fill(~real[:, None, None], torch.iinfo(torch.int64).max)
    plan = _make_plan(bucket.flatten(0, 1), chunk, back, causal, self_last, scale)
    rows = [None if t is None else _filled_up(t, missing).flatten(0, 1).contiguous() for t in (q, k, v)]
    y, _ = _Bucketed.apply(*rows, *plan)
    y = y.unflatten(0, (batch, heads))[:, :, :length]
    return y if mask_bl is None else y.masked_fill(~mask_bl[:, None, :, None], 0)


def _filled_up(t_bhlx: Tensor, missing: int) -> Tensor:
    return pad(t_bhlx, (0, 0, 0, missing)) if missing else t_bhlx


def _make_plan(bucket_nrl: Tensor, chunk: int, back: int, causal: bool, self_last: bool, scale: float) -> _Plan:
    rows, rounds, length = bucket_nrl.shape
    tile, at = chunk // back, torch.arange(length, device=bucket_nrl.device)
    ordered, order = bucket_nrl.transpose(0, 1).contiguous().sort(dim=2, stable=True)
    place = torch.empty_like(order).scatter_(2, order, at.expand_as(order))
    reach, base = (chunk, at) if causal else (1, at // chunk)
    parted = pad((ordered[..., 1:] != ordered[..., :-1]).long().cumsum(2), (1, 0))
    exact = torch.float32 if length * (chunk + 2) < 1 << 22 else torch.float64
    u = (base + (reach + 1) * parted).to(exact)  # buckets lie further apart than the reach
    u = u.gather(2, place)
    u_pairs = torch.cat([u[: r + 1].gather(2, order[r].expand(r + 1, -1, -1)) for r in range(rounds)])
    first = torch.arange(0, rows * length, length, device=order.device).unsqueeze(1)
    order, place, u_pairs = pad(order, (tile, 0)) + first, place + tile, pad(u_pairs, (tile, 0), value=-1.0 - reach)
    return _Plan(order, place, u_pairs, float(reach), tile, back, self_last, scale)


def _unit(x: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """x/|x| and 1/|x|, finite where x = 0."""
    shrink = torch.mul(x, x, out=out).sum(-1, keepdim=True).add_(1e-12).rsqrt_()
    return torch.mul(x, shrink, out=out), shrink


def _through_unit(x: Tensor, g: Tensor) -> Tensor:
    """The gradient of x, given that of x/|x|, in whose memory it is made."""
    direction, shrink = _unit(x)
    along = (g * direction).sum(-1, keepdim=True)
    return g.sub_(direction.mul_(along)).mul_(shrink)


class _Bucketed(torch.autograd.Function):
    """(q, k or None for q/|q|, v (N, L, width), and a plan) → (y, z = log₂ Σ 2^s), (N, L, V) and (N, L, 1)."""

    @staticmethod
    def forward(q: Tensor, k: Tensor | None, v: Tensor, *plan: Any) -> tuple[Tensor, Tensor]:
        whole, room = _Plan(*plan), Workspace(q, q.dtype, enabled=should_tile(q))
        y, z = torch.empty_like(v), v.new_empty(*v.shape[:2], 1)
        for i in _pieces(q, whole):
            _forward_rows(q, k, v, whole.of_rows(i), room, y[i], z[i])
        return y, z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, order, place, u, *ctx.rest = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, order, place, u, *output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, order, place, u, y, z = ctx.saved_tensors
        plan, room = _Plan(order, place, u, *ctx.rest), Workspace(q, q.dtype, enabled=should_tile(q))
        gq, gk, gv = torch.empty_like(q), None if k is None else torch.empty_like(k), torch.empty_like(v)
        given = _Given(q, k, v, gy.contiguous(), z, (gy * y).sum(-1, keepdim=True))
        for i in _pieces(q, plan):
            gk_rows = torch.empty_like(q[i]) if gk is None else gk[i]
            _backward_rows(given, plan.of_rows(i), room, (gq[i], gk_rows, gv[i]))
            if gk is None:
                gq[i] += _through_unit(q[i], gk_rows)
        return gq, gk, gv, *[None] * len(plan)


class _Given(NamedTuple):
    """What the backward pass starts from: gradients g of y, and delta = g·y, beside what the forward pass knew."""

    q: Tensor
    k: Tensor | None
    v: Tensor
    g: Tensor
    z: Tensor
    delta: Tensor


def _pieces(q: Tensor, plan: _Plan) -> list[slice]:
    """Which rows to work on at once."""
    rows, length, _ = q.shape
    step = max(SCORES_AT_ONCE // (2 * length * plan.tile), 1) if should_tile(q) else max(rows, 1)
    return [slice(i, i + step) for i in range(0, rows, step)]


class Part(NamedTuple):
    """Some tiles and the keys that they are compared with.

    Attributes:
        tiles: a run of tiles, each with itself and the one before as its keys; or a list of tiles, with the one before these.
    """

    tiles: slice | Tensor

    @property
    def near(self) -> bool:
        return isinstance(self.tiles, slice)

    def of(self, t_tcx: Tensor) -> Tensor:
        """What the tiles have, (t, T, …)."""
        return t_tcx[self.tiles] if isinstance(self.tiles, slice) else t_tcx.index_select(0, self.tiles)

    def keys(self, t_tcx: Tensor) -> Tensor:
        """What their keys have, (t, 2T or T, …)."""
        if not isinstance(self.tiles, slice):
            return t_tcx.index_select(0, self.tiles - 2)
        tile, run = t_tcx.shape[1], t_tcx[self.tiles.start - 1 : self.tiles.stop].flatten(0, 1)
        windows = run.unfold(0, 2 * tile, tile)  # these overlap, without a copy
        return windows.mT if run.ndim > 1 else windows

    def put(self, whole_tcx: Tensor, some: Tensor) -> None:
        """Writes what the tiles got, or adds it to what they got as a run."""
        if isinstance(self.tiles, slice):
            whole_tcx[self.tiles] = some
        else:
            whole_tcx.index_add_(0, self.tiles, some)

    def put_keys(self, whole_tcx: Tensor, some: Tensor) -> None:
        """The same of their keys. Runs come in order, so that a tile is written before the next adds to it."""
        if isinstance(self.tiles, slice):
            tile, before = whole_tcx.shape[1], slice(self.tiles.start - 1, self.tiles.stop - 1)
            whole_tcx[self.tiles] = some[:, tile:]
            whole_tcx[before] += some[:, :tile]
        else:
            whole_tcx.index_add_(0, self.tiles - 2, some)


class _Round:
    """One round's rows in sorted order, cut into tiles."""

    def __init__(self, plan: _Plan, r: int, room: Workspace):
        self.plan, self.r, self.room = plan, r, room
        rows, each = plan.order_rnl.shape[1:]
        self.shape = (rows, each // plan.tile, plan.tile)
        self.order_x = plan.order_rnl[r].flatten()
        first = torch.arange(0, rows * each, each, device=self.order_x.device)
        self.place_x = (plan.place_rnL[r] + first.unsqueeze(1)).flatten()
        self.u_rtc = plan.u_pnl[r * (r + 1) // 2 :][: r + 1].reshape(r + 1, -1, plan.tile)
        self.middle_rtc = self.u_rtc - plan.reach / 2

    def sort(self, name: str, whole: Tensor) -> Tensor:
        """All rows' (…, L, X) to these rows' in sorted order, (tiles, T, X)."""
        width = whole.shape[-1]
        out = self.room.out(name, len(self.order_x), width)
        return torch.index_select(whole.view(-1, width), 0, self.order_x, out=out).view(-1, self.plan.tile, width)

    def sort_keys(self, q_tcx: Tensor, k: Tensor | None) -> Tensor:
        """Keys in sorted order, given the queries in it."""
        return self.sort("k", k) if k is not None else _unit(q_tcx, self.room.out("k", *q_tcx.shape))[0]

    def unsort(self, name: str, t_tcx: Tensor) -> Tensor:
        """Back to (these rows, L, X)."""
        width = t_tcx.shape[2]
        out = self.room.out(name, len(self.place_x), width)
        return torch.index_select(t_tcx.view(-1, width), 0, self.place_x, out=out).view(self.shape[0], -1, width)

    def parts(self) -> Iterator[Part]:
        """All tiles, in runs; then those whose first bucket begins two tiles before."""
        rows, each, tile = self.shape
        step = max(SCORES_AT_ONCE // (2 * tile**2), 1) if self.room.enabled else rows * each
        for start in range(1, rows * each, step):
            yield Part(slice(start, min(start + step, rows * each)))
        if self.plan.back == 2:
            u_ntc = self.u_rtc[self.r].view(self.shape)
            far_nt = pad(u_ntc[:, 2:, 0] - u_ntc[:, :-2, -1] <= self.plan.reach, (2, 0))
            for tiles in far_nt.flatten().nonzero().squeeze(1).split(2 * step):
                yield Part(tiles)

    def scores(self, part: Part, q: Tensor, k: Tensor) -> Tensor:
        """q kᵀ·scale·log₂ e of the pairs that meet in this round and met in no earlier one; `NOTHING` for others."""
        plan, half = self.plan, self.plan.reach / 2
        *earlier, here = [self.apart(part, r) for r in range(self.r + 1)]
        s = here.gt_(half).to(q.dtype)  # 1 for what is hidden: masks of numbers are faster than those of truth values
        if earlier:
            nearest = earlier[0]
            for other in earlier[1:]:
                nearest = torch.minimum(nearest, other, out=self.room.reuse(nearest))
            s += nearest.le_(half)
        s.baddbmm_(q, k.mT, beta=NOTHING, alpha=plan.scale * _LOG2_E)
        if plan.self_last and self.r == 0 and part.near:
            s.diagonal(plan.tile, -2, -1).fill_(ITSELF * _LOG2_E)
        return s

    def apart(self, part: Part, r: int) -> Tensor:
        """How far, in a round, a pair lies from the middle of those that meet: at most reach/2 if it meets."""
        u_q, u_k = part.of(self.middle_rtc[r]).unsqueeze(2), part.keys(self.u_rtc[r]).unsqueeze(1)
        out = self.room.out(f"u {self.r - r}", *u_q.shape[:2], u_k.shape[2])
        return torch.sub(u_q, u_k, out=out).abs_()


def _merge(y: Tensor, z: Tensor, more_y: Tensor, more_z: Tensor) -> None:
    """Makes a part's averages y and z = log₂ Σ 2^s, (…, V) and (…, 1), those of two parts."""
    both = torch.logaddexp2(z, more_z)
    y.lerp_(more_y, (more_z - both).exp2_())
    z.copy_(both)


def _forward_rows(q: Tensor, k: Tensor | None, v: Tensor, plan: _Plan, room: Workspace, y: Tensor, z: Tensor) -> None:
    """Writes y and z of the plan's rows, one round after the other."""
    for r in range(len(plan.order_rnl)):
        some_y, some_z = _forward_round(_Round(plan, r, room), q, k, v)
        if r:
            _merge(y, z, some_y, some_z)
        else:
            y.copy_(some_y)
            z.copy_(some_z)


def _forward_round(rows: _Round, q: Tensor, k: Tensor | None, v: Tensor) -> tuple[Tensor, Tensor]:
    """y and z of one round's pairs, (N, L, V or 1)."""
    room = rows.room
    q, v = rows.sort("q", q), rows.sort("v", v)
    k = rows.sort_keys(q, k)
    y, z = room.empty("y sorted", *v.shape), room.empty("z sorted", *v.shape[:2], 1)
    for part in rows.parts():
        s, v_keys = rows.scores(part, part.of(q), part.keys(k)), part.keys(v)
        top = s.amax(2, keepdim=True)
        p = s.sub_(top).exp2_()
        weight = p.sum(2, keepdim=True)
        some_y = bmm(p, v_keys, out=room.out("y", *p.shape[:2], v.shape[2])).div_(weight)
        some_z = weight.log2_().add_(top)
        if not part.near:
            _merge(some_y, some_z, part.of(y), part.of(z))
        y[part.tiles], z[part.tiles] = some_y, some_z
    return rows.unsort("y of round", y), rows.unsort("z of round", z)


def _backward_rows(given: _Given, plan: _Plan, room: Workspace, totals: tuple[Tensor, Tensor, Tensor]) -> None:
    """Writes the gradients of q, k and v of the plan's rows into `totals`."""
    for r in range(len(plan.order_rnl)):
        rows = _Round(plan, r, room)
        for total, found in zip(totals, _backward_round(rows, given), strict=True):
            some = rows.unsort("some", found)
            total.add_(some) if r else total.copy_(some)


def _backward_round(rows: _Round, given: _Given) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of one round's pairs, in sorted order."""
    plan, room = rows.plan, rows.room
    q, v, g = rows.sort("q", given.q), rows.sort("v", given.v), rows.sort("g", given.g)
    k = rows.sort_keys(q, given.k)
    z, delta = rows.sort("z", given.z), rows.sort("delta", given.delta)
    z.view(*rows.shape)[:, 0] = torch.inf  # an empty tile sees nothing
    gq, gk, gv = (room.empty(f"g{i} sorted", *t.shape) for i, t in enumerate((q, k, v)))
    for part in rows.parts():
        q_here, k_here, v_here, g_here = part.of(q), part.keys(k), part.keys(v), part.of(g)
        p = rows.scores(part, q_here, k_here).sub_(part.of(z)).exp2_()
        part.put_keys(gv, bmm(p.mT, g_here, out=room.out("of keys", *v_here.shape)))
        gs = bmm(g_here, v_here.mT, out=room.out("gs", *p.shape)).sub_(part.of(delta)).mul_(p).mul_(plan.scale)
        if plan.self_last and rows.r == 0 and part.near:
            gs.diagonal(plan.tile, -2, -1).zero_()
        part.put_keys(gk, bmm(gs.mT, q_here, out=room.out("of keys", *k_here.shape)))
        part.put(gq, bmm(gs, k_here, out=room.out("of queries", *q_here.shape)))
    return gq, gk, gv
