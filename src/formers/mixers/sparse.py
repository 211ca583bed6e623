"""Attention over the pairs of a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from formers.mixers.context import Context
from formers.mixers.heads import check_head_count, join_heads, split_heads
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV, QkvMixer, mix_in_pieces
from formers.mixers.score_bias import added_rows, hidden_pairs, pair_bias, row_bias
from formers.mixers.sparse_state import SparseState, capacity_for, recalled, take_tokens
from formers.mixers.static_kv_cache import check_fits
from formers.mixers.static_sparse_state import StaticSparseState
from formers.ops import (
    Packing,
    PairBias,
    attention,
    check_lengths,
    packing,
    pad_input,
    sparse_attention,
    varlen_attention,
)
from formers.part import Site, State, Unsupported
from formers.patterns import Pattern, Window

_QUERIES_AT_ONCE = 256
"""New tokens that attend to a state of bounded size at once."""


class Sparse(Mixer):
    """softmax(QKᵀ/√K) V over the pairs of a pattern: `sparse(pattern=window(128) | global(0))`.

    Time and memory ∝ the pattern's pairs, rounded up to blocks of queries. Tokens are counted without padding. A query
    that sees no key gives zeros. Streams where the pattern does not depend on the length; what no later query sees is
    forgotten, so that a window keeps a constant size.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "static", "padding", "qk_position", "score_position", "relative"}
    )
    pattern: Pattern = Window(32)
    "Which pairs of tokens see each other."
    per_head: tuple[Pattern, ...] = ()
    "Patterns that the heads take in turn, instead of `pattern`."
    kv_heads: int | None = None
    "Heads of keys and values, G, shared by the query heads; as many as those unless given."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        check_head_count(self, "kv_heads")
        if self.per_head and self.pattern != type(self).pattern:
            raise ValueError(f"sparse: give either pattern={self.pattern} or per_head, and not both")

    @property
    def abilities(self) -> frozenset[str]:
        """All of `can`, but no state where a pattern depends on the length."""
        by_length = any(one.needs_length() for one in self.all_patterns())
        return self.can - {"streaming", "static"} if by_length else self.can

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also for more patterns than heads, and for options of patterns without an effect."""
        super().check_site(site)
        if len(self.per_head) > site.heads:
            raise Unsupported(
                f"{self}: per_head lists {len(self.per_head)} patterns, of which the last would never be used with "
                f"{site.heads} heads; list at most {site.heads}"
            )
        check_patterns(self, self.all_patterns(), site)

    def all_patterns(self) -> tuple[Pattern, ...]:
        """Return the patterns that the heads take in turn."""
        return self.per_head or (self.pattern,)

    def growth(self) -> float:
        return max(one.growth() for one in self.all_patterns())

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        return tuple(one.at_layer(site.layer) for one in self.all_patterns())

    def module(self, site: Site) -> MixerModule:
        return SparseMixer(site, self.patterns(site), kv_heads=self.kv_heads, bias=self.bias)


def check_patterns(part: Mixer, patterns: Sequence[Pattern], site: Site) -> None:
    """Raise `Unsupported`, naming the mixer, where an option of a pattern of it could have no effect at a site."""
    for one in patterns:
        try:
            one.check_site(site)
        except Unsupported as error:
            raise Unsupported(f"{part} has {error}") from None


Mixer.shorthands[Pattern] = lambda pattern: Sparse(pattern=pattern)


class SparseMixer(QkvMixer):
    """Attention over patterns that the heads take in turn. The base of every mixer with a pattern."""

    states = (SparseState, StaticSparseState)

    def __init__(self, site: Site, patterns: tuple[Pattern, ...], *, kv_heads: int | None = None, bias: bool = False):
        super().__init__(site, kv_heads=kv_heads, bias=bias)
        self.patterns = patterns
        self.by_length = any(one.needs_length() for one in patterns)
        self.streams = site.causal and not self.by_length
        self.causal_forms = tuple(one.causal_form() for one in patterns) if self.streams else ()
        self.capacity = capacity_for(self.causal_forms)
        self.sees_latest = len(set(self.causal_forms)) == 1 and self.causal_forms[0].sees_latest()

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        if context.state is not None:
            return self.attend_from_state(qkv, context)
        if context.mask_bl is None:
            y_bhlv = self.attend_over_pattern(qkv, context)
        else:
            pack = packing(context.mask_bl)
            length = self.length_within(pack)
            unpadded = context.unpad(pack).piece(0, length, None)
            assert unpadded.mask_bl is not None
            q, k, v = (take_tokens(t, pack.source_bl[:, :length], ~unpadded.mask_bl) for t in qkv)
            y_bhlv = self.attend_over_pattern(QKV(q, k, v), unpadded)
            y_bhlv = split_heads(pad_input(join_heads(y_bhlv), pack), self.heads)
        if not self.streams or not context.keep_state:
            return y_bhlv, None
        return y_bhlv, self.state_of(qkv, context).forget(self.causal_forms, self.capacity)

    def length_within(self, pack: Packing) -> int:
        """Return how many tokens to attend over, padding not beyond what the patterns are for.

        Raise ValueError where real tokens are.
        """
        length = pack.source_bl.shape[1]
        for one in self.patterns:
            longest = one.longest()
            if longest is not None and length > longest:
                check_lengths(pack.length_b, longest, str(one))
                length = longest
        return length

    def attend_over_pattern(self, qkv: QKV, context: Context) -> Tensor:
        """Return y (B, H, L, V) of a sequence that begins here; padding, if any, is behind it."""
        q, k, v = qkv
        mask_bl, bias = context.mask_bl, self.pair_bias(q, k, context.positions_bl)
        if self.by_length and mask_bl is not None:
            length_b = mask_bl.sum(1) if context.length_b is None else context.length_b
            return varlen_attention(q, k, v, length_b, self.patterns, causal=self.causal, bias=bias)
        return sparse_attention(q, k, v, self.patterns, causal=self.causal, key_mask_bs=mask_bl, bias=bias)

    def pair_bias(self, q_bhlk: Tensor, k_bgsk: Tensor, positions_bl: Tensor) -> PairBias | None:
        """Return what is added to the scores as the kernel asks for it: the position's bias, or None without one."""
        return pair_bias(self.score_position, q_bhlk, k_bgsk, positions_bl)

    # --- streaming ---

    def state_of(self, qkv: QKV, context: Context) -> SparseState:
        """Return a state of the new tokens alone."""
        rows = len(context.x_bld)
        index_bl = (context.counts_bl - 1).expand(rows, -1)
        index_bl = index_bl if context.mask_bl is None else index_bl.masked_fill(~context.mask_bl, -1)
        positions_bl = None if self.score_position is None else context.positions_bl.expand(rows, -1)
        return SparseState(context.seen_b, qkv.k, qkv.v, index_bl, positions_bl)

    def attend_from_state(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        """Return y and the state where there is a past: some queries at a time where what is remembered is bounded."""
        for one in self.patterns:
            if (longest := one.longest()) is not None:
                check_lengths(context.seen_b, longest, str(one))
        if isinstance(context.state, StaticSparseState):
            if qkv.q.shape[2] == 1:
                return self.static_step(qkv, context, context.state)
            context = replace(context, state=context.state.growing())
        at_once = _QUERIES_AT_ONCE if self.capacity is not None else qkv.q.shape[2]
        return mix_in_pieces(lambda some, there, _: self.step(some, there), qkv, context, at_once)

    def step(self, qkv: QKV, context: Context) -> tuple[Tensor, SparseState]:
        """Attend from new tokens to what is remembered and to each other."""
        assert isinstance(context.state, SparseState)
        known = context.state.followed_by(self.state_of(qkv, context))
        q, k = qkv.q, known.k_bgsk
        of_position = added_rows(row_bias(self.score_position, context.positions_bl, known.positions_bs), q, k)
        if self.sees_latest and context.mask_bl is None and q.shape[2] == 1 and k.shape[2] - 1 == self.capacity:
            # what is remembered is what this token sees, and all but the oldest is what the next one will
            added = hidden_pairs(known.index_bs < 0, q.dtype)[:, None, None]
            more = of_position(0, 1)
            y_bhlv = attention(q, k, known.v_bgsv, bias=added if more is None else added + more)
            return y_bhlv, known.latest(k.shape[2] - 1)
        index_bl = context.counts_bl - 1

        def bias(start: int, stop: int) -> Tensor:
            seen = _seen_pairs(self.causal_forms, self.heads, index_bl[:, start:stop], known.index_bs)
            added = hidden_pairs(~seen, q.dtype)
            more = of_position(start, stop)
            return added if more is None else added + more

        y_bhlv = attention(q, k, known.v_bgsv, key_mask_bs=known.index_bs >= 0, bias=bias)
        return y_bhlv, known.forget(self.causal_forms, self.capacity)

    def with_fixed_size(self, state: State, length: int) -> State:
        if not isinstance(state, SparseState):
            return state
        wanted_bs = state.index_bs >= 0
        if self.capacity is None:
            check_fits(state.seen_b, length)
            return StaticSparseState.of(state.filled(wanted_bs, length))
        wanted_bs = wanted_bs & recalled(self.causal_forms, state.index_bs, state.seen_b)
        return StaticSparseState.of(state.filled(wanted_bs, self.capacity + 1))

    def static_step(self, qkv: QKV, context: Context, state: StaticSparseState) -> tuple[Tensor, StaticSparseState]:
        """Attend from one new token of each row to what a state of fixed size remembers, and to itself."""
        wanted_bs = (state.index_bs >= 0) & recalled(self.causal_forms, state.index_bs, state.seen_b)
        known = state.with_token(self.state_of(qkv, context), wanted_bs)
        seen = _seen_pairs(self.causal_forms, self.heads, context.counts_bl - 1, known.index_bs)
        bias = row_bias(self.score_position, context.positions_bl, known.positions_bs)
        added = added_rows(bias, qkv.q, known.k_bgsk)(0, 1)
        return known.attended_from(qkv.q, seen & (known.index_bs >= 0)[:, None, None], added), known


def _seen_pairs(patterns: Sequence[Pattern], heads: int, q_bl: Tensor, k_bs: Tensor) -> Tensor:
    """Return which keys each query of each head sees, (B, 1 or H, L, S)."""
    masks = [one.mask(q_bl.unsqueeze(2), k_bs.unsqueeze(1)) for one in patterns]
    masks = [mask.expand(len(k_bs), q_bl.shape[1], k_bs.shape[1]) for mask in masks]
    return masks[0].unsqueeze(1) if len(masks) == 1 else torch.stack([masks[h % len(masks)] for h in range(heads)], 1)
