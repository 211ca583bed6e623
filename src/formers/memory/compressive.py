"""The memory of the Compressive Transformer: what leaves the memory stays, compressed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from formers.memory.attention_mass import attention_mass
from formers.memory.compressors import LEARNED, CompressorName, make_compressor, window_of
from formers.memory.leaving import Leaving, leaving
from formers.memory.memory import Memory
from formers.memory.reconstruction import Compressed, Decoder, LossName, attention_loss
from formers.memory.remembered import Remembered, seen_together
from formers.mixers import MemoryInput, MixerMemory, MixerModule
from formers.mixers.cached_attention import CachedAttention
from formers.mixers.context import Context
from formers.mixers.kv_cache import KeyValueState
from formers.mixers.score_bias import row_bias
from formers.part import Site, State, add_loss


class Compressive(Memory):
    """Each layer remembers its last `length` tokens, as recurrent(), and the tokens before these compressed c to one.

    New tokens see [compressed ∘ memory ∘ x], each part behind the other, the compressed ones at the places before the
    memory. Each `rate` = c tokens that leave the memory become one, f(old); `compressed` of these are kept. Outputs
    depend on (length + c·compressed)·layers tokens before a segment, and a segment of L costs O(L² + L·(length +
    compressed)). Tokens leave in groups of c, counted from the beginning of a text: until a group is whole, its tokens
    stay in the memory, which therefore holds up to c − 1 more than `length`.

    f of a `conv` or `dilated_conv` learns from an auxiliary loss alone, which is added to that of the task in training:
    `attention`, the mean of ‖attn(h, old) − attn(h, f(old))‖² over the outputs of all heads for the new tokens h, by
    content, without positions; or `autoencoding`, the mean of ‖old − g(f(old))‖² with a linear g. The loss reaches
    nothing but f (and g); the loss of the task does not reach these. Otherwise as recurrent(). Source: Rae et al. 2020,
    arXiv:1911.05507.
    """

    can = frozenset({"causal", "streaming", "padding", "qk_position", "score_position", "weight_position", "relative"})
    length: int = 256
    "Tokens that each layer remembers as they are."
    compressed: int = 256
    "Compressed tokens that each layer keeps."
    rate: int = 3
    "c, the tokens that become one."
    by: CompressorName = "conv"
    """f: `max_pool` or `mean_pool` of each feature; `conv`, Σ_k W_k x_k + b; `dilated_conv`, the same with every second
    token of 2c − 1, the last c − 1 of which are in the memory still; `most_used`, the token of each c that has had the
    most attention, which costs the attention once more, forward and backward."""
    loss: LossName | None = None
    "What f learns from, where it has weights: `attention` unless given."

    def check(self) -> None:
        for name in ("length", "compressed"):
            if getattr(self, name) < 1:
                raise ValueError(f"compressive: {name} must be at least 1, but {getattr(self, name)} was given")
        if self.rate < 2:
            raise ValueError(f"compressive: rate must be at least 2, but {self.rate} was given; recurrent() keeps all")
        if self.loss is not None and self.by not in LEARNED:
            raise ValueError(
                f"compressive: loss={self.loss!r} was given, but by={self.by!r} has no weights to learn; leave it out, "
                "or take by='conv' or by='dilated_conv'"
            )
        if window_of(self.by, self.rate) - self.rate > self.length:
            raise ValueError(
                f"compressive: by={self.by!r} looks at {self.rate - 1} tokens behind those that leave, but the memory "
                f"holds {self.length}; raise length"
            )

    def module(self, site: Site, mixer: MixerModule) -> MixerMemory:
        self.check_keys(site, mixer)
        return CompressiveMemory(self, site.width)

    def tokens(self, context_length: int) -> int:
        return self.length + self.rate * (self.compressed + 1) - 1

    def reach(self, layers: int, context_length: int) -> int:
        return (self.length + self.rate * self.compressed) * layers


@dataclass(frozen=True)
class CompressiveState(State):
    """The last tokens as a mixer saw them, and those before compressed."""

    memory: Remembered
    "The last tokens of each row."
    compressed: Remembered | None = None
    "Those in the place of earlier ones; None before there are any. Their positions are not those of tokens."

    def reorder(self, rows: Tensor) -> Self:
        seen_b = self.seen_b.index_select(0, rows.to(self.seen_b.device))
        return self._with_each(seen_b, lambda one: one.reorder(rows))

    def reset(self, rows_b: Tensor) -> Self:
        return self._with_each(self.seen_b.masked_fill(rows_b, 0), lambda one: one.without(rows_b))

    def _with_each(self, seen_b: Tensor, change: Any) -> Self:
        compressed = None if self.compressed is None else change(self.compressed)
        return replace(self, seen_b=seen_b, memory=change(self.memory), compressed=compressed)

    def in_order(self) -> tuple[Remembered, ...]:
        """Return what new tokens see, the earliest first: compressed ones at the places before the memory."""
        if self.compressed is None:
            return (self.memory,)
        first_b1 = self.memory.positions_bm[:, :1]
        if self.memory.mask_bm is not None:
            none = torch.iinfo(first_b1.dtype).max
            first_b1 = self.memory.positions_bm.masked_fill(~self.memory.mask_bm, none).amin(1, keepdim=True)
            first_b1 = first_b1.masked_fill(first_b1 == none, 0)  # a row that begins anew has no compressed ones
        size = self.compressed.size
        if self.compressed.mask_bm is None:
            before_m = torch.arange(size, 0, -1, device=first_b1.device).unsqueeze(0)
        else:
            before_m = self.compressed.mask_bm.long().flip(1).cumsum(1).flip(1)
        return (self.compressed._replace(positions_bm=first_b1 - before_m), self.memory)


class CompressiveMemory(MixerMemory):
    states = (CompressiveState,)

    def __init__(self, part: Compressive, width: int):
        super().__init__()
        self.part = part
        self.compressor = make_compressor(part.by, part.rate, width)
        self.decoder = Decoder(part.rate, width) if part.loss == "autoencoding" else None

    def forward(self, given: MemoryInput) -> tuple[Tensor, State | None]:
        mixer, context = given.mixer, given.context
        state = context.state
        assert state is None or isinstance(state, CompressiveState)
        q_bhlk, k_bglk, v_bglv = mixer.project(context)
        new = Remembered.of(context, k_bglk, v_bglv)
        past = () if state is None else state.in_order()
        seen = seen_together(mixer, past, new, k_bglk, v_bglv)
        bias = row_bias(mixer.score_position, context.positions_bl, seen.positions_bs)
        y_bld = mixer.finish(mixer.attend_to(seen, q_bhlk, bias), context)
        most = context.x_bld.shape[1] + (0 if state is None else state.memory.size)  # all, until groups leave
        if not context.keep_state and not self.training:  # in training the compressor learns
            return y_bld, None
        held = new if state is None else state.memory.followed_by(new, most, seen)
        if self.part.by == "most_used":
            held = held._replace(used_bm=self._used(mixer, state, seen, q_bhlk, context))
        return self.touched(y_bld), self._after(mixer, state, held, context)

    def _after(
        self, mixer: CachedAttention, state: CompressiveState | None, held: Remembered, context: Context
    ) -> CompressiveState:
        """Return the state after the new tokens, which `held` has behind those of the memory."""
        before = None if state is None else state.compressed
        gone, kept = leaving(held, self.part.length, self.compressor)
        if gone is None:
            return CompressiveState(context.seen_b, kept, before)
        x_bnd = self.compressor(gone.x_bnwd, gone.used_bnw)
        self._learn(mixer, context, gone, x_bnd)
        made = self._kept_tokens(mixer, x_bnd.detach(), gone.mask_bn)
        most = self.part.compressed
        after = made.last(most) if before is None else before.followed_by(made, most)
        return CompressiveState(context.seen_b, kept, after)

    def _kept_tokens(self, mixer: CachedAttention, x_bnd: Tensor, mask_bn: Tensor | None) -> Remembered:
        """Return compressed tokens, with keys and values where these do not depend on their changing places."""
        places = torch.zeros(1, x_bnd.shape[1], dtype=torch.long, device=x_bnd.device)
        made = Remembered(x_bnd, places, mask_bn)
        if torch.is_grad_enabled() or mixer.head_position is not None:
            return made
        return made.with_keys(*mixer.keys_values(Context(x_bnd, places, mask_bn)))

    def _learn(self, mixer: CachedAttention, context: Context, gone: Leaving, x_bnd: Tensor) -> None:
        """Add the loss that the compressor learns from."""
        if not self.training or self.part.by not in LEARNED:
            return
        old_bed = gone.x_bnwd[:, :, : self.part.rate].flatten(1, 2)
        pair = Compressed(old_bed, x_bnd, gone.mask_bn)
        loss = attention_loss(mixer, context, pair) if self.decoder is None else self.decoder(pair)
        add_loss("compression", loss)

    def _used(
        self,
        mixer: CachedAttention,
        state: CompressiveState | None,
        seen: KeyValueState,
        q_bhlk: Tensor,
        context: Context,
    ) -> Tensor:
        """Return the attention that tokens of the memory, and the new ones, have had so far, (B, M + L)."""
        used_bs = attention_mass(mixer, seen, q_bhlk, context)
        if state is None:
            return used_bs
        compressed = 0 if state.compressed is None else state.compressed.size
        before_bm = state.memory.used_bm
        assert before_bm is not None, "attention is counted from the first token on"
        used_bs = used_bs[:, compressed:]
        return torch.cat([used_bs[:, : before_bm.shape[1]] + before_bm, used_bs[:, before_bm.shape[1] :]], 1)
