"""Attention whose heads learn how far back they look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from formers.mixers.context import Context
from formers.mixers.heads import check_head_count, join_heads, split_heads
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.qkv import QKV, QkvMixer, mix_in_pieces
from formers.mixers.score_bias import row_bias
from formers.mixers.span_mask import SpanScores, folded, log_span_mask, mean_over_real, visible_keys, with_score_mask
from formers.mixers.sparse_state import SparseState, take_tokens
from formers.mixers.static_sparse_state import StaticSparseState
from formers.ops import (
    attention,
    can_read,
    counted_times,
    each_kind,
    is_free_to_read,
    is_transformed,
    packing,
    pad_input,
    read_once,
    read_together,
    unpad_input,
    works_by_distance,
)
from formers.part import Site, State, add_loss

_QUERIES = 128
"""Queries that meet their keys at once: more make larger products, and more pairs that are not visible."""
_TIMES_ON_A_GPU = 4
"""So many times as many there, where products are cheap beside the start of a dozen kernels for each block."""
_QUERIES_AFTER_STATE = 256
"""New tokens that attend to a state at once."""


_LEARNED: WeakSet[AdaptiveSpanMixer] = WeakSet()
"""Layers whose spans have been asked for, learned and the same for all tokens."""


class AdaptiveSpan(Mixer):
    """Softmax attention in which exp(s_ij) is multiplied by m_z(|i − j|), m_z(x) = clip((R + z − x)/R, 0, 1).

    Every head learns its span z in [0, S], and no token sees others that are S or more away from it. Training adds
    `penalty` · mean over heads (and tokens) of z/S to the loss, for every layer. Keys beyond the largest z of a layer,
    rounded up, are not computed: O(L·(max z + R)·K) time and memory, in training, too; a causal model remembers as many
    tokens. For that, spans are read after every change of theirs, which waits for the device, once for all layers, but
    not where a layer goes on from a state. A compiled model computes the whole span.

    With `dynamic`, z_t = S·σ(v·x_t + b), for every head and token; a causal model then remembers S − 1 tokens.

    A share z/S that leaves [0, 1] is mirrored at its ends. Distances count tokens without padding; x = 0 is the token
    itself, which the paper leaves out. Source: Sukhbaatar et al. 2019, arXiv:1905.07799, whose weight of the penalty
    is `penalty`/S here.
    """

    can = frozenset(
        {"causal", "bidirectional", "streaming", "static", "padding", "qk_position", "score_position"}
        | {"weight_position", "relative"}
    )
    starts = {"init": ("share_h", "span_proj.bias")}  # noqa: RUF012
    span: int | None = None
    "S: the largest span; a token sees those less than S away. The model's `context_length` unless given."
    ramp: int = 32
    "R: tokens behind the span over which the mask falls from 1 to 0."
    penalty: float = 0.01
    "Weight of the mean z/S in the loss of a model in training."
    dynamic: bool = False
    "Whether each token has spans of its own."
    init: float = 0.02
    "z/S at the start."
    kv_heads: int | None = None
    "Heads of keys and values, G, shared by the query heads; as many as those unless given."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        check_head_count(self, "kv_heads")
        if self.ramp < 1:
            raise ValueError(f"{self}: ramp must be at least 1")
        if self.span is not None and self.span < 2:
            raise ValueError(f"{self}: span must be at least 2; a token would see itself alone")
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"{self}: penalty must be at least 0; 0 leaves spans to the loss of the task")
        if not (0 < self.init < 1 if self.dynamic else 0 <= self.init <= 1):
            raise ValueError(f"{self}: init is a share of the span, from 0 to 1{' exclusively' * self.dynamic}")

    def growth(self) -> float:
        return 2.0 if self.span is None else 1.0

    def module(self, site: Site) -> MixerModule:
        return AdaptiveSpanMixer(site, self)


@dataclass(frozen=True)
class SpanState(SparseState):
    """The keys and values that a later query may see."""

    kept: int = 0
    "Tokens that are remembered, the next one included."

    def followed_by(self, later: SparseState) -> SpanState:
        """Return the state with the tokens of a later one behind its own; as many are kept as here."""
        both = super().followed_by(later)
        return SpanState(both.seen_b, both.k_bgsk, both.v_bgsv, both.index_bs, both.positions_bs, self.kept)

    def forget_unseen(self) -> SparseState:
        """Return the state with the tokens alone that are kept."""
        return self.keep(self.seen_b.unsqueeze(1) - self.index_bs < self.kept, self.kept - 1)


class AdaptiveSpanMixer(QkvMixer):
    """Attention with a learned span a head, or a head and token."""

    states = (SpanState, StaticSparseState)

    def __init__(self, site: Site, part: AdaptiveSpan):
        super().__init__(site, kv_heads=part.kv_heads, bias=part.bias)
        self.part = part
        self.span = site.context_length if part.span is None else part.span
        if part.dynamic:
            self.span_proj = nn.Linear(site.width, site.heads)
        else:
            self.share_h = nn.Parameter(torch.empty(site.heads))
        self.init_weights(0.02)

    def init_weights(self, std: float) -> None:
        """Let all spans start as `init` says."""
        if self.part.dynamic:
            nn.init.constant_(self.span_proj.bias, math.log(self.part.init / (1 - self.part.init)))
        else:
            nn.init.constant_(self.share_h, self.part.init)

    def shares(self, x_bld: Tensor) -> Tensor:
        """Return z/S of every head, (1, H, 1), or of every head and token, (B, H, L), in float32 or wider."""
        if not self.part.dynamic:
            return folded(self.share_h)[None, :, None]
        logits_blh = self.span_proj(x_bld)
        return logits_blh.to(torch.promote_types(logits_blh.dtype, torch.float32)).sigmoid().transpose(1, 2)

    def attend(self, qkv: QKV, context: Context) -> tuple[Tensor, State | None]:
        share_bhl = self.shares(context.x_bld)
        if self.training and self.part.penalty:
            add_loss("span", self.part.penalty * mean_over_real(share_bhl, context.mask_bl))
        z_bhl = share_bhl * self.span
        if context.state is not None:
            return self._attend_from_state(qkv, context, z_bhl)
        visible = self._visible_keys(z_bhl)
        y_bhlv = self._attend_without_padding(qkv, context, z_bhl, visible)
        if not self.causal or not context.keep_state:
            return y_bhlv, None
        kept = self.span if self.part.dynamic else visible
        return y_bhlv, self._state_of(qkv, context, kept).forget_unseen()

    def _visible_keys(self, z_bhl: Tensor) -> int:
        """Return how many tokens back any head may look; learned spans are read once while they stay as they are."""
        if self.part.dynamic or not can_read(self.share_h):
            return visible_keys(z_bhl, self.part.ramp, self.span)
        _LEARNED.add(self)
        if not is_free_to_read(self.share_h):
            read_together([(layer.share_h, layer.visible_within) for layer in (self, *_LEARNED)], "visible")
        return read_once(self.share_h, "visible", self.visible_within)

    def visible_within(self, share_h: Tensor) -> int:
        """Return how many tokens back any head may look by these shares."""
        return visible_keys(folded(share_h) * self.span, self.part.ramp, self.span)

    def _attend_without_padding(self, qkv: QKV, context: Context, z_bhl: Tensor, visible: int) -> Tensor:
        """Return y (B, H, L, V) of a sequence that begins here, padding moved behind its tokens meanwhile."""
        if context.mask_bl is None:
            return self._attend_in_blocks(qkv, context, z_bhl, visible)
        pack = packing(context.mask_bl)
        unpadded = context.unpad(pack)
        assert unpadded.mask_bl is not None
        q, k, v = (take_tokens(t, pack.source_bl, ~unpadded.mask_bl) for t in qkv)
        z_bhl = unpad_input(z_bhl.mT, pack).mT if self.part.dynamic else z_bhl
        y_bhlv = self._attend_in_blocks(QKV(q, k, v), unpadded, z_bhl, visible)
        return split_heads(pad_input(join_heads(y_bhlv), pack), self.heads)

    def _attend_in_blocks(self, qkv: QKV, context: Context, z_bhl: Tensor, visible: int) -> Tensor:
        """Return y (B, H, L, V): blocks of queries meet the keys that any of them may see.

        Where there are several, each is computed again in the backward pass instead of kept. On a CPU, spans that all
        tokens share are a table by distance, and tiles of scores are no larger than its cache.
        """
        length = qkv.q.shape[2]
        if not self.part.dynamic and self.score_position is None and works_by_distance(qkv.q, qkv.k):
            spans = SpanScores(z_bhl, min(visible, length), self.part.ramp, self.span, causal=self.causal)
            return attention(qkv.q, qkv.k, qkv.v, causal=self.causal, key_mask_bs=context.mask_bl, bias=spans)
        at_once = _QUERIES * (1 if qkv.q.device.type in ("cpu", "meta") else _TIMES_ON_A_GPU)
        several = length > at_once and torch.is_grad_enabled() and not is_transformed()
        again = several and not torch.compiler.is_compiling()
        before = min(visible, length) - 1
        mask = None if self.part.dynamic else self._mask(z_bhl, min(at_once, length), before)
        starts = range(0, length, at_once)
        blocks = [self._block(start, min(start + at_once, length), length, before) for start in starts]
        ys = []
        for (queries, keys), times in each_kind(blocks, _sizes_of, qkv.q):
            columns = slice(keys.start - queries.start + before, keys.stop - queries.start + before)
            part = None if mask is None else mask[:, :, : queries.stop - queries.start, columns]
            args = (qkv, context, z_bhl, part, queries, keys)
            with counted_times(times):
                if again:
                    y_bhlv = checkpoint(self._attend_block, *args, use_reentrant=False, preserve_rng_state=False)
                else:
                    y_bhlv = self._attend_block(*args)
            ys += [y_bhlv] * times
        return torch.cat(ys, 2)

    def _block(self, start: int, stop: int, length: int, before: int) -> tuple[slice, slice]:
        """Return queries, and the keys that any of them may see, `before` of them in front of each."""
        return slice(start, stop), slice(max(start - before, 0), stop if self.causal else min(stop + before, length))

    def _attend_block(
        self, qkv: QKV, context: Context, z_bhl: Tensor, mask: Tensor | None, queries: slice, keys: slice
    ) -> Tensor:
        """Return what some queries see in some of the keys, (B, H, l, V); without a mask given, it is made here."""
        q, k, v = qkv.q[:, :, queries], qkv.k[:, :, keys], qkv.v[:, :, keys]
        positions_bl, mask_bl = context.positions_bl, context.mask_bl
        if mask is None:
            of_keys_1s = torch.arange(keys.start, keys.stop, device=q.device)[None]
            of_queries_1l = torch.arange(queries.start, queries.stop, device=q.device)[None]
            mask = self._log_mask(z_bhl[:, :, queries], of_queries_1l, of_keys_1s)
        bias = row_bias(self.score_position, positions_bl[:, queries], positions_bl[:, keys])
        key_mask_bs = None if mask_bl is None else mask_bl[:, keys]
        return attention(q, k, v, key_mask_bs=key_mask_bs, bias=with_score_mask(bias, mask, q, k))

    def _mask(self, z_bhl: Tensor, queries: int, before: int) -> Tensor:
        """Return the mask of so many queries, their own keys, those before them and, bidirectional, as many behind.

        (1, H, l, before + l), or (1, H, l, before + l + before). Every block has a part of it.
        """
        behind = 0 if self.causal else before
        q_index_1l = torch.arange(queries, device=z_bhl.device)[None]
        return self._log_mask(z_bhl, q_index_1l, torch.arange(-before, queries + behind, device=z_bhl.device)[None])

    def _log_mask(self, z_bhl: Tensor, q_index_bl: Tensor, k_index_bs: Tensor) -> Tensor:
        return log_span_mask(z_bhl, q_index_bl, k_index_bs, self.part.ramp, self.span, causal=self.causal)

    # --- streaming ---

    def _state_of(self, qkv: QKV, context: Context, kept: int) -> SpanState:
        """Return a state of the new tokens alone."""
        rows = len(context.x_bld)
        index_bl = (context.counts_bl - 1).expand(rows, -1)
        index_bl = index_bl if context.mask_bl is None else index_bl.masked_fill(~context.mask_bl, -1)
        positions_bl = None if self.score_position is None else context.positions_bl.expand(rows, -1)
        return SpanState(context.seen_b, qkv.k, qkv.v, index_bl, positions_bl, kept)

    def _attend_from_state(self, qkv: QKV, context: Context, z_bhl: Tensor) -> tuple[Tensor, State | None]:
        """Return y and the state where there is a past, some queries at a time."""

        def step(some: QKV, there: Context, where: slice) -> tuple[Tensor, State | None]:
            z = z_bhl if z_bhl.shape[2] == 1 else z_bhl[:, :, where]
            return self._attend_to_state(some, there, z)

        return mix_in_pieces(step, qkv, context, _QUERIES_AFTER_STATE)

    def _attend_to_state(self, qkv: QKV, context: Context, z_bhl: Tensor) -> tuple[Tensor, State]:
        """Attend from new tokens to what is remembered and to each other."""
        state = context.state
        if isinstance(state, StaticSparseState):
            if qkv.q.shape[2] == 1:
                near_bs = state.seen_b.unsqueeze(1) - state.index_bs < state.index_bs.shape[1]
                known = state.with_token(self._state_of(qkv, context, 0), near_bs & (state.index_bs >= 0))
                return self._attend_to(known.growing(), qkv.q, context, z_bhl), known
            state = SpanState(**vars(state.growing()), kept=state.index_bs.shape[1])
        assert isinstance(state, SpanState)
        after = state.followed_by(self._state_of(qkv, context, state.kept))
        return self._attend_to(after, qkv.q, context, z_bhl), after.forget_unseen()

    def _attend_to(self, known: SparseState, q: Tensor, context: Context, z_bhl: Tensor) -> Tensor:
        """Return what queries see in known keys, their own among them."""
        k, v = known.k_bgsk.to(q.dtype), known.v_bgsv.to(q.dtype)
        mask = self._log_mask(z_bhl, context.counts_bl - 1, known.index_bs)
        bias = row_bias(self.score_position, context.positions_bl, known.positions_bs)
        mask = mask.expand(len(q), *mask.shape[1:])
        return attention(q, k, v, key_mask_bs=known.index_bs >= 0, bias=with_score_mask(bias, mask, q, k))

    def with_fixed_size(self, state: State, length: int) -> State:
        if not isinstance(state, SpanState):
            return state
        return StaticSparseState.of(state.filled(state.index_bs >= 0, state.kept))


def _sizes_of(block: tuple[slice, slice]) -> tuple[int, ...]:
    """Return the numbers of queries and keys of a block."""
    return tuple(some.stop - some.start for some in block)
