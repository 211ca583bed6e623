"""Linear attention by Triton kernels: the launches of a forward and a backward pass. Imported only where Triton is.

A forward pass is three launches (sums of segments, running sums, outputs), or one where a single segment is enough, as
for a streaming step. The backward pass makes the sums from the end, then one mixture for each gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from formers.ops.linear_attention import triton_decay, triton_mixtures, triton_sums
from formers.ops.linear_attention.triton_grid import (
    block_of,
    column_block,
    cut_of,
    decay_column_block,
    empty_heads,
    precision_of,
    strided,
    tile_options,
)
from formers.ops.linear_attention.triton_state import TritonState, of_segments, of_sequences


class TritonOptions(NamedTuple):
    """What is fixed over a call: the mode, the least denominator, and the name of the feature map."""

    causal: bool
    normalize: bool
    floor: float
    feature: str


class TritonInputs(NamedTuple):
    """The tensors of a call: queries, keys and values before the feature map, a state, a decay and a mask."""

    q: Tensor
    k: Tensor
    v: Tensor
    s0: Tensor | None
    z0: Tensor | None
    log_g: Tensor | None
    mask: Tensor | None


class TritonOutputs(NamedTuple):
    """y, the state after the last key, the denominators, and the state before each segment, S and z in a row.

    z and d are empty where nothing is normalised, `states` over all pairs and where one segment was enough.
    """

    y: Tensor
    s: Tensor
    z: Tensor
    d: Tensor
    states: Tensor


class Mixture(NamedTuple):
    """A row of the table in `triton_mixtures`; `maps` are those of a, b and c, `raw` is what φ' is taken of."""

    a: Tensor
    b: Tensor
    c: Tensor
    out: Tensor
    maps: tuple[str, str, str]
    raw: Tensor | None = None
    row_out: Tensor | None = None
    row: Tensor | None = None
    extra: Tensor | None = None
    kind: str = "none"
    reverse: bool = False
    transposed: bool = False
    d: Tensor | None = None


@dataclass(frozen=True)
class Launches:
    """The kernels of one pass, on the tensors and options of a call.

    `single_chunks` makes every segment one chunk, so that the states of all chunks are known.
    """

    given: TritonInputs
    options: TritonOptions
    single_chunks: bool = False

    @property
    def widest(self) -> int:
        """Return the larger of the numbers of features and of columns of values."""
        return max(self.given.q.shape[3], self.given.v.shape[3])

    @property
    def shared(self) -> dict[str, Any]:
        """Return the arguments that kernels share."""
        return {"log_g": self.given.log_g, "mask": self.given.mask, "PRECISION": precision_of()}

    def running(
        self,
        b: Tensor,
        c: Tensor,
        start: tuple[Tensor | None, Tensor | None],
        row: Tensor | None = None,
        extra: Tensor | None = None,
        *,
        reverse: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums of ρ φ(b) cᵀ and of ρ y φ(b) before each segment (after it in reverse), and of all.

        Returns:
            (B·H, segments, M V + M), S and z in a row; S (B, H, M, V); z (B, H, M).
        """
        (batch, heads, length, m), width = b.shape, c.shape[3]
        cut = cut_of(b, self.widest, single_chunks=self.single_chunks)
        sums = b.new_empty(batch * heads, cut.segments, m * width + m, dtype=torch.float32)
        decays = None if self.given.log_g is None else b.new_empty(sums.shape[:2], dtype=torch.float32)
        block_b, block_c = min(block_of(m), 64), min(block_of(width), 64)
        blocks = -(-m // block_b) * -(-width // block_c)
        triton_sums.segment_sums[(batch * heads * cut.segments * blocks,)](
            b=strided(b),
            c=strided(c),
            row=row,
            extra=extra,
            sums=sums,
            decays=decays,
            sizes=(heads, m, width),
            length=length,
            segments=cut.segments,
            chunks=cut.chunks,
            MAP=self.options.feature,
            REVERSE=reverse,
            ROWS=cut.rows,
            BLOCK_B=block_b,
            BLOCK_C=block_c,
            **self.shared,
            **tile_options(block_b, block_c),
        )
        s = b.new_empty(batch, heads, m, width, dtype=torch.float32)
        z = b.new_empty(batch, heads, m, dtype=torch.float32)
        sizes, block = (m * width, m), 1024
        triton_sums.running_sums[(batch * heads * -(-sums.shape[2] // block),)](
            sums,
            decays,
            *(_dense(t) for t in start),
            s,
            z,
            sizes,
            cut.segments,
            REVERSE=reverse,
            BLOCK=block,
            num_warps=4,
        )
        return sums, s, z

    def mix(self, mixture: Mixture, state: TritonState, end: tuple[Tensor, Tensor] | None = None) -> None:
        """Write `mixture.out`, given the states between segments (over all pairs: that of all).

        Args:
            end: where the state after the last token goes; for one segment.
        """
        a, c, keys = mixture.a, mixture.c, mixture.b.shape[2]
        (batch, heads, length, m), width = a.shape, c.shape[3]
        cut = cut_of(a, self.widest, single_chunks=self.single_chunks)
        block_a, block_c = block_of(m), column_block(m, width)
        map_a, map_b, map_c = mixture.maps
        triton_mixtures.mixtures[(batch * heads * cut.segments * -(-width // block_c),)](
            **{name: strided(getattr(mixture, name)) for name in ("a", "b", "c", "out", "raw")},
            **{name: getattr(mixture, name) for name in ("row_out", "row", "extra")},
            state=None if state.s is None else state,
            end=end,
            divisor=mixture.d,
            sizes=(heads, m, width),
            length=length,
            keys=keys,
            segments=cut.segments,
            chunks=cut.chunks,
            floor=self.options.floor,
            MAP_A=map_a,
            MAP_B=map_b,
            MAP_C=map_c,
            MAP_RAW="identity" if mixture.raw is None else self.options.feature,
            EXTRA=mixture.kind,
            CAUSAL=self.options.causal,
            REVERSE=mixture.reverse,
            TRANSPOSED=mixture.transposed,
            ROWS=cut.rows,
            BLOCK_A=block_a,
            BLOCK_C=block_c,
            **self.shared,
            **tile_options(block_a, block_c),
        )

    def row_factors(self, y: Tensor, gy: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        """Return ρ = 1/d and e = −G·y of each row, (B, H, L)."""
        batch, heads, length, width = y.shape
        row, extra, rows = torch.empty_like(d), torch.empty_like(d), 64
        triton_sums.row_factors[(batch * heads * -(-length // rows),)](
            *(strided(y), strided(gy), d, row, extra),
            *((heads, width), length, self.options.floor),
            ROWS=rows,
            BLOCK=block_of(width),
            num_warps=4,
        )
        return row, extra

    def decay_gradient(
        self, gy: Tensor, row: Tensor | None, extra: Tensor | None, before: Tensor, after: Tensor
    ) -> Tensor:
        """Return the gradient of log g, (B, H, L), given S and z before and R and r after each chunk, as of
        `running`."""
        q, k, v = self.given[:3]
        (batch, heads, length, m), width = q.shape, v.shape[3]
        cut = cut_of(q, self.widest, single_chunks=True)
        glog, block_v = q.new_empty(batch, heads, length, dtype=torch.float32), decay_column_block(q, width)
        triton_decay.decay_gradient[(batch * heads * cut.segments,)](
            **{name: strided(t) for name, t in {"q": q, "k": k, "v": v, "gy": gy}.items()},
            row=row,
            extra=extra,
            before=before,
            after=after,
            out=glog,
            sizes=(heads, m, width),
            length=length,
            chunks=cut.segments,
            MAP=self.options.feature,
            ROWS=cut.rows,
            BLOCK_M=block_of(m),
            BLOCK_V=block_v,
            **self.shared,
            num_warps=4 if block_of(m) < 128 else 8,
            num_stages=2 if block_of(m) < 256 else 1,
        )
        return glog


def forward(given: TritonInputs, options: TritonOptions) -> TritonOutputs:
    """Return y and the state after the last key. Masked keys and values count as zeros."""
    given = given._replace(log_g=_dense(given.log_g), mask=_dense(given.mask))
    q, k, v = given.q, given.k, given.v
    launches, y = Launches(given, options), empty_heads(q, v.shape[3])
    d = q.new_empty(q.shape[:3] if options.normalize else 0, dtype=torch.float32)
    mixture = Mixture(q, k, v, y, (options.feature, options.feature, "identity"), d=d if options.normalize else None)
    states = None
    if options.causal and cut_of(k, launches.widest).segments == 1:
        s = q.new_empty(*q.shape[:2], q.shape[3], v.shape[3], dtype=torch.float32)
        z = q.new_empty(s.shape[:3], dtype=torch.float32)
        launches.mix(mixture, of_sequences(_dense(given.s0), _dense(given.z0)), end=(s, z))
    else:
        states, s, z = launches.running(k, v, (given.s0, given.z0))
        launches.mix(mixture, of_segments(states, s) if options.causal else of_sequences(s, z))
    kept = states if options.causal and states is not None else s.new_empty(0)
    return TritonOutputs(y, s, z if options.normalize else s.new_empty(0), d, kept)


def backward(
    given: TritonInputs,
    found: TritonOutputs,
    gradients: tuple[Tensor, Tensor | None, Tensor | None],
    options: TritonOptions,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of q, k, v, S₀, z₀ and log g, given those of y, S and z; None for a decay without one."""
    given = given._replace(log_g=_dense(given.log_g), mask=_dense(given.mask))
    (q, k, v), (gy, gs, gz), phi = given[:3], gradients, options.feature
    of_decay = given.log_g is not None
    launches = Launches(given, options, single_chunks=of_decay)
    row, extra = launches.row_factors(found.y, gy, found.d) if options.normalize else (None, None)
    ends, gs0, gz0 = launches.running(q, gy, (gs, gz), row, extra, reverse=True)
    states, before = found.states, of_sequences(found.s, found.z)
    if of_decay:
        states, _, _ = launches.running(k, v, (given.s0, given.z0))
    if options.causal:
        before = of_segments(states, gs0) if states.numel() else of_sequences(_dense(given.s0), _dense(given.z0))
    after = of_segments(ends, gs0) if options.causal else of_sequences(gs0, gz0)
    dq, dk, dv = (empty_heads(t, t.shape[3]) for t in (q, k, v))
    kinds, plain = ("rows", "columns") if options.normalize else ("none", "none"), "identity"
    for mixture, state in (
        (Mixture(gy, v, k, dq, (plain, plain, phi), q, row, None, extra, kinds[0], transposed=True), before),
        (Mixture(v, gy, q, dk, (plain, plain, phi), k, None, row, extra, kinds[1], True, True), after),
        (Mixture(k, q, gy, dv, (phi, phi, plain), row=row, reverse=True), after),
    ):
        launches.mix(mixture, state)
    glog = launches.decay_gradient(gy, row, extra, states, ends) if of_decay else None
    return dq, dk, dv, gs0, gz0, glog


def _dense(t: Tensor | None) -> Tensor | None:
    """Return a tensor in one piece, as kernels that know its shape alone want it."""
    return None if t is None else t.contiguous()
