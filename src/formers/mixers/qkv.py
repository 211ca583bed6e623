"""Mixers with queries, keys and values per head: three steps, each of which a subclass may override."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from formers.mixers.context import Context
from formers.mixers.heads import join_heads, normed, split_heads
from formers.mixers.mixer import MixerModule
from formers.ops import counted_times, has_only_sizes
from formers.part import Site, State, Unsupported
from formers.positions.position import build_at


class QKV(NamedTuple):
    """Queries, keys and values per head.

    Attributes:
        q: queries, (B, H, L, K).
        k: keys, (B, G, L, K).
        v: values, (B, G, L, V); the same tensor as the keys where those are the values.
    """

    q: Tensor
    k: Tensor
    v: Tensor


def mix_in_pieces(
    step: Callable[[QKV, Context, slice], tuple[Tensor, State | None]], qkv: QKV, context: Context, at_once: int
) -> tuple[Tensor, State | None]:
    """Return y, (B, H, L, V), and the state after all tokens, `at_once` of them mixed at a time.

    Without data, on the meta device, and without gradients, a piece that leaves a state of the sizes that it found
    stands for all whole pieces behind it, which would do the same: their operations are counted, and they do not run.

    Args:
        step: takes queries, keys and values of some tokens, their context, with the state after those before them, and
            where they are; returns y and the state after them.
    """
    length, state = qkv.q.shape[2], context.state
    if length <= at_once:
        return step(qkv, context, slice(0, length))
    alike = has_only_sizes(qkv.q)
    ys: list[Tensor] = []
    start, times = 0, 1
    while start < length:
        some = slice(start, min(start + at_once, length))
        q, k, v = (t[:, :, some] for t in qkv)
        with counted_times(times):
            y_bhlv, after = step(QKV(q, k, v), context.piece(some.start, some.stop, state), some)
        ys += [y_bhlv] * times
        start += times * at_once
        times = max((length - start) // at_once, 1) if alike and _sizes(after) == _sizes(state) else 1
        state = after
    return torch.cat(ys, 2), state


def _sizes(value: object) -> object:
    """Return a state with the shape and dtype of each tensor in its place: all that its size depends on."""
    if isinstance(value, State):
        return type(value), {field.name: _sizes(getattr(value, field.name)) for field in fields(value) if field.compare}
    if isinstance(value, tuple):
        return tuple(_sizes(item) for item in value)
    return (value.shape, value.dtype) if isinstance(value, Tensor) else value


def _kind_of(value: object) -> str:
    """Return the type of a value, and a tensor's shape, in words."""
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


class HeadMixer(MixerModule):
    """A mixer that works per head: `project`, `attend`, `finish`. The base of those with projections of their own."""

    o_proj: nn.Module
    has_usual_projections: ClassVar[bool] = False
    "Whether the projections are the usual ones, of the width and with the norms that the site asks for."

    def __init__(self, site: Site, *, key_width: int | None = None):
        """Build the positions; `key_width` is that of keys and queries per head, if not `site.head_width`.

        Raise Unsupported where the site asks for heads of another width or norms, and the projections are not usual.
        """
        if not self.has_usual_projections and (site.key_width is not None or site.qk_norm is not None):
            raise Unsupported(
                f"{type(self).__name__} projects in a way of its own, which knows neither head_width={site.key_width} "
                f"nor qk_norm={site.qk_norm}; leave them out, or use softmax(), sparse(), longformer() or linear()"
            )
        super().__init__(site)
        self.heads = site.heads
        there = site if key_width is None else replace(site, key_width=key_width)
        self.head_position = build_at("heads", there)
        self.score_position = build_at("scores", there)
        if self.score_position is None:
            self.score_position = build_at("weights", there)

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        qkv = self.project(context)
        mixed = self.attend(qkv, context)
        if self.built_by is not None and self.built_by.is_own():
            self._check_mixed(mixed, qkv)
        y_bhlv, state = mixed
        return self.finish(y_bhlv, context), state

    def _check_mixed(self, mixed: object, qkv: QKV) -> None:
        """Raise TypeError or ValueError where a user's `attend` returned something else than y (B, H, L, V) and a
        state."""
        what = f"{type(self).__name__}.attend"
        if not isinstance(mixed, tuple) or len(mixed) != 2:
            raise TypeError(
                f"{what} returns two things, y_bhlv and the state (None where it keeps none), not {_kind_of(mixed)}"
            )
        y, shape = mixed[0], qkv.q.shape[:3]
        if not isinstance(y, Tensor) or y.ndim != 4 or y.shape[:3] != shape:
            raise ValueError(
                f"{what} returns y of the shape (rows, heads, tokens, width of a head), here "
                f"({', '.join(map(str, shape))}, …), not {_kind_of(y)}"
            )

    def project(self, context: Context) -> QKV:
        """Return queries, keys and values, with the position that acts on queries and keys applied."""
        raise NotImplementedError

    def queries(self, context: Context) -> Tensor:
        """Return the queries alone, (B, H, L, K)."""
        return self.project(context).q

    def keys_values(self, context: Context) -> tuple[Tensor, Tensor]:
        """Return the keys, (B, G, L, K), and values, (B, G, L, V), alone."""
        _, k, v = self.project(context)
        return k, v

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        """Return y (B, H, L, V) and the state after the last token."""
        raise NotImplementedError

    def finish(self, y_bhlv: Tensor, context: Context) -> Tensor:
        """Return y (B, L, D) from that of all heads."""
        return self.o_proj(join_heads(y_bhlv))

    def apply_position(self, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
        """Return queries or keys with the position that acts on them; the same tensor without one."""
        return x_bhlk if self.head_position is None else self.head_position(x_bhlk, positions_bl)


class QkvMixer(HeadMixer):
    """The usual projections: `q_proj`, `k_proj`, `v_proj`, `o_proj`. A subclass defines `attend`.

    `q_norm` and `k_norm` are what the model has as `qk_norm`, over each head's queries and keys, as in Qwen3 (Yang et
    al. 2025, arXiv:2505.09388).
    """

    has_usual_projections = True

    def __init__(self, site: Site, *, kv_heads: int | None = None, bias: bool = False):
        """Build the projections; `kv_heads` is G, as many as queries have unless given."""
        super().__init__(site)
        width, head_width = site.width, site.head_width
        inner = site.heads * head_width
        self.kv_heads = site.heads if kv_heads is None else kv_heads
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ValueError(f"kv_heads must divide the {self.heads} heads, but {self.kv_heads} was given")
        self.q_proj = nn.Linear(width, inner, bias=bias)
        self.k_proj = nn.Linear(width, self.kv_heads * head_width, bias=bias)
        self.v_proj = nn.Linear(width, self.kv_heads * head_width, bias=bias)
        self.o_proj = nn.Linear(inner, width, bias=bias)
        self.q_norm, self.k_norm = site.head_norm(), site.head_norm()

    def project(self, context: Context) -> QKV:
        return QKV(self.queries(context), *self.keys_values(context))

    def queries(self, context: Context) -> Tensor:
        q_bhlk = self.split_queries(self.q_proj(context.x_bld))
        return self.apply_position(q_bhlk, context.positions_bl)

    def keys_values(self, context: Context) -> tuple[Tensor, Tensor]:
        k_bglk = self.split_keys(self.k_proj(context.x_bld))
        v_bglk = split_heads(self.v_proj(context.x_bld), self.kv_heads)
        return self.apply_position(k_bglk, context.positions_bl), v_bglk

    def split_queries(self, q_bld: Tensor) -> Tensor:
        """Return projected queries (B, L, H·K) per head, (B, H, L, K), with their norm."""
        return normed(self.q_norm, split_heads(q_bld, self.heads))

    def split_keys(self, k_bld: Tensor) -> Tensor:
        """Return projected keys (B, L, G·K) per head, (B, G, L, K), with their norm."""
        return normed(self.k_norm, split_heads(k_bld, self.kv_heads))
