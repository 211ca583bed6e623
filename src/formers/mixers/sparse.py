"""Attention over the pairs of a pattern, and what every mixer with one shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from formers.mixers.mixer import Mixer, MixerModule, count_tokens, join_heads, seen_after, split_heads
from formers.mixers.qkv import HeadMixer
from formers.ops import PairBias, attention, packing, pad_input, sparse_attention, unpad_input, varlen_attention
from formers.part import Site, State
from formers.patterns import Pattern, Window
from formers.positions.position import build_at

_QUERIES_AT_ONCE = 256
"""New tokens that are taken against what is remembered at once, where that is bounded."""


ABILITIES = frozenset({"causal", "bidirectional", "streaming", "padding", "qk_position", "score_position"})
"""What attention over a pattern can do, unless the pattern depends on the length: then it cannot stream."""


class Sparse(Mixer):
    """softmax(QKᵀ/√K) V over the pairs of a pattern: `sparse(pattern=window(128) | global(0))`.

    Time and memory ∝ the pattern's pairs, rounded up to blocks of queries. Tokens are counted without padding. A query
    that sees no key gives zeros. Streams where
    the pattern does not depend on the length; what no later query sees is forgotten, so that a window keeps a constant size.
    """

    can = ABILITIES
    pattern: Pattern = Window(32)
    "Which pairs of tokens see each other."
    per_head: tuple[Pattern, ...] = ()
    "Patterns that the heads take in turn, instead of `pattern`."
    kv_heads: int | None = None
    "Heads of keys and values, G, shared by the query heads; as many as those unless given."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        if self.per_head and self.pattern != type(self).pattern:
            raise ValueError(f"sparse: give either pattern={self.pattern} or per_head, and not both")

    @property
    def abilities(self) -> frozenset[str]:
        by_length = any(one.needs_length() for one in self.all_patterns())
        return self.can - {"streaming"} if by_length else self.can

    def all_patterns(self) -> tuple[Pattern, ...]:
        return self.per_head or (self.pattern,)

    def growth(self) -> float:
        return max(one.growth() for one in self.all_patterns())

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        return tuple(one.at_layer(site.layer) for one in self.all_patterns())

    def module(self, site: Site) -> MixerModule:
        return SparseMixer(site, self.patterns(site), kv_heads=self.kv_heads, bias=self.bias)


@dataclass(frozen=True)
class SparseStream(State):
    """The keys and values that a later query may see."""

    k_bgsk: Tensor
    "Keys, (B, G, S, K)."
    v_bgsv: Tensor
    "Values, (B, G, S, V)."
    index_bs: Tensor
    "Which token each is, counted without padding, (B, S); −1 where there is none."
    positions_bs: Tensor | None = None
    "Position of each, (B, S), where scores depend on it."


class SparseMixer(HeadMixer):
    def __init__(
        self,
        site: Site,
        patterns: tuple[Pattern, ...],
        *,
        kv_heads: int | None = None,
        bias: bool = False,
    ):
        super().__init__(site, kv_heads=kv_heads, bias=bias)
        self.patterns = patterns
        self.by_length = any(one.needs_length() for one in patterns)
        self.streams = site.causal and not self.by_length
        self.forms = tuple(one.causal_form() for one in patterns) if self.streams else ()
        self.room = _room(self.forms)
        self.score_position = build_at("scores", site)

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x_bld, positions_bl = self.enter(x_bld, state, mask_bl, positions_bl)
        if isinstance(state, SparseStream):
            return self.go_on(x_bld, state, mask_bl, positions_bl)
        q, k, v = self.project(x_bld, positions_bl)
        if mask_bl is None:
            y_bhlv = self.attend(x_bld, (q, k, v), None, positions_bl)
            y_bld = self.o_proj(join_heads(y_bhlv))
        else:
            pack = packing(mask_bl)
            none_bl = torch.arange(x_bld.shape[1], device=x_bld.device) >= pack.length_b.unsqueeze(1)
            q_p, k_p, v_p = (_rows_at(t, pack.source_bl, none_bl) for t in (q, k, v))
            there_bl = positions_bl.expand(len(x_bld), -1).gather(1, pack.source_bl)
            y_bhlv = self.attend(unpad_input(x_bld, pack), (q_p, k_p, v_p), ~none_bl, there_bl)
            y_bld = self.o_proj(pad_input(join_heads(y_bhlv), pack))
        if not self.streams:
            return y_bld, None
        return y_bld, self.remembered(self.stream_of(x_bld, k, v, mask_bl, positions_bl, None))

    def attend(
        self, x_bld: Tensor, qkv: tuple[Tensor, Tensor, Tensor], mask_bl: Tensor | None, positions_bl: Tensor
    ) -> Tensor:
        """What every head sees, (B, H, L, V), in a sequence that begins here; padding, if any, is behind it."""
        q, k, v = qkv
        bias = self.pair_bias(q, positions_bl)
        if self.by_length and mask_bl is not None:
            return varlen_attention(q, k, v, mask_bl.sum(1), self.patterns, causal=self.causal, bias=bias)
        return sparse_attention(q, k, v, self.patterns, causal=self.causal, key_mask_bs=mask_bl, bias=bias)

    def project(self, x_bld: Tensor, positions_bl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, L, K), keys and values (B, G, L, K)."""
        q_bhlk = split_heads(self.q_proj(x_bld), self.heads)
        k_bglk, v_bglk = (split_heads(proj(x_bld), self.kv_heads) for proj in (self.k_proj, self.v_proj))
        if self.head_position is not None:
            q_bhlk, k_bglk = self.head_position(q_bhlk, positions_bl), self.head_position(k_bglk, positions_bl)
        return q_bhlk, k_bglk, v_bglk

    def pair_bias(self, q_bhlk: Tensor, positions_bl: Tensor) -> PairBias | None:
        """What is added to the scores, as the kernel asks for it: the position's bias, where there is one."""
        position = self.score_position
        if position is None:
            return None

        def bias(b: int, q_nl: Tensor, k_ns: Tensor) -> Tensor:
            there = positions_bl[b if len(positions_bl) > 1 else 0]
            return position(there[q_nl], there[k_ns])

        return PairBias(bias, depends_on=tuple(position.parameters()))

    # --- streaming ---

    def stream_of(
        self,
        x_bld: Tensor,
        k: Tensor,
        v: Tensor,
        mask_bl: Tensor | None,
        positions_bl: Tensor,
        state: SparseStream | None,
    ) -> SparseStream:
        """Everything of the state and of the new tokens."""
        rows = len(x_bld)
        index_bl = (count_tokens(x_bld, mask_bl, state) - 1).expand(rows, -1)
        index_bl = index_bl if mask_bl is None else index_bl.masked_fill(~mask_bl, -1)
        scored = None if self.score_position is None else positions_bl.expand(rows, -1)
        new = SparseStream(seen_after(x_bld, mask_bl, state), k, v, index_bl, scored)
        return new if state is None else _joined(state, new)

    def go_on(
        self, x_bld: Tensor, state: SparseStream, mask_bl: Tensor | None, positions_bl: Tensor
    ) -> tuple[Tensor, SparseStream]:
        """New tokens against what is remembered and each other."""
        step = _QUERIES_AT_ONCE if self.room is not None else max(x_bld.shape[1], 1)
        ys = []
        for start in range(0, x_bld.shape[1], step):
            part = slice(start, start + step)
            mask = None if mask_bl is None else mask_bl[:, part]
            y, state = self.step(x_bld[:, part], state, mask, positions_bl[:, part])
            ys.append(y)
        return torch.cat(ys, 1), state

    def step(
        self, x_bld: Tensor, state: SparseStream, mask_bl: Tensor | None, positions_bl: Tensor
    ) -> tuple[Tensor, SparseStream]:
        q, k, v = self.project(x_bld, positions_bl)
        known = self.stream_of(x_bld, k, v, mask_bl, positions_bl, state)
        index_bl = count_tokens(x_bld, mask_bl, state) - 1

        def bias(start: int, stop: int) -> Tensor:
            seen = _seen_pairs(self.forms, self.heads, index_bl[:, start:stop], known.index_bs)
            added = torch.zeros(seen.shape, dtype=q.dtype, device=q.device).masked_fill(~seen, -torch.inf)
            if self.score_position is not None:
                added = added + self.score_position(positions_bl[:, start:stop], known.positions_bs)
            return added

        y_bhlv = attention(q, known.k_bgsk, known.v_bgsv, key_mask_bs=known.index_bs >= 0, bias=bias)
        return self.o_proj(join_heads(y_bhlv)), self.remembered(known)

    def remembered(self, known: SparseStream) -> SparseStream:
        """What a later query may see, the latest last, in a room that stays as large as it is; everything without a limit."""
        size = self.room
        wanted = _recalled(self.forms, known.index_bs, known.seen_b) & (known.index_bs >= 0)
        if size is None:
            return known
        index_bs = known.index_bs.masked_fill(~wanted, -1)
        missing = max(size - index_bs.shape[1], 0)
        padded = torch.nn.functional.pad(index_bs, (missing, 0), value=-1)
        index_bs, at_bs = (t.flip(1) for t in padded.topk(size, 1))
        at_bs = (at_bs - missing).clamp(min=0)
        none = index_bs < 0
        return replace(
            known,
            k_bgsk=_rows_at(known.k_bgsk, at_bs, none),
            v_bgsv=_rows_at(known.v_bgsv, at_bs, none),
            index_bs=index_bs,
            positions_bs=None
            if known.positions_bs is None
            else known.positions_bs.gather(1, at_bs).masked_fill(none, 0),
        )


def _room(patterns: Sequence[Pattern]) -> int | None:
    """How many keys a state must hold at most; None without a limit."""
    sizes = [one.memory() for one in set(patterns)]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _recalled(patterns: Sequence[Pattern], index_bs: Tensor, next_b: Tensor) -> Tensor:
    """Which keys a query from `next_b` on sees in any head, (B, S)."""
    found = torch.zeros_like(index_bs, dtype=torch.bool)
    for one in patterns:
        found = found | one.recalled(index_bs, next_b.unsqueeze(1))
    return found


def _seen_pairs(patterns: Sequence[Pattern], heads: int, q_bl: Tensor, k_bs: Tensor) -> Tensor:
    """Which keys each query of each head sees, (B, 1 or H, L, S)."""
    masks = [one.mask(q_bl.unsqueeze(2), k_bs.unsqueeze(1)) for one in patterns]
    masks = [mask.expand(len(k_bs), q_bl.shape[1], k_bs.shape[1]) for mask in masks]
    return masks[0].unsqueeze(1) if len(masks) == 1 else torch.stack([masks[h % len(masks)] for h in range(heads)], 1)


def _joined(a: SparseStream, b: SparseStream) -> SparseStream:
    """Two streams, one after the other."""
    both = None if a.positions_bs is None or b.positions_bs is None else torch.cat([a.positions_bs, b.positions_bs], 1)
    k, v = torch.cat([a.k_bgsk, b.k_bgsk], 2), torch.cat([a.v_bgsv, b.v_bgsv], 2)
    return SparseStream(b.seen_b, k, v, torch.cat([a.index_bs, b.index_bs], 1), both)


def _rows_at(t: Tensor, at_bs: Tensor, none: Tensor) -> Tensor:
    """The rows of (B, G, S, K) at some places; zeros where there is none."""
    if not t.shape[2]:
        return t.new_zeros(*t.shape[:2], at_bs.shape[1], t.shape[3])
    picked = t.gather(2, at_bs[:, None, :, None].expand(-1, t.shape[1], -1, t.shape[3]))
    return picked.masked_fill(none[:, None, :, None], 0)
