"""The memory of Transformer-XL: the last tokens of the segments before, as each layer saw them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from formers.memory.memory import Memory
from formers.memory.remembered import Remembered, seen_together
from formers.mixers import MemoryInput, MixerMemory, MixerModule
from formers.mixers.score_bias import row_bias
from formers.part import Site, State


class Recurrent(Memory):
    """Each layer remembers what its mixer was given for the last `length` tokens, and new tokens see that, too.

    Queries from the new tokens x alone, keys and values from [stopgrad(memory) ∘ x], behind each other, with the mask
    and the positions of both. So W_k and W_v learn from the memory, and nothing passes from a segment into the one
    before. A segment of L tokens costs O(L·(L + length)) time; the state holds length·D numbers a layer, and without
    gradients their keys and values, too, which are then not made again. What a layer remembers was made from the
    memory of the layer below, so that outputs depend on length·layers tokens before the segment.

    Outputs are those of one pass over everything as long as `length` holds all tokens before the segment. With a
    shorter memory they depend on how the text is cut: token i of a segment sees `length` + i − 1 tokens before it, as
    published. No weight depends on `length`: a trained model is loaded with another one by
    `CausalLM.from_pretrained(folder, memory="recurrent(length=1024)")`. Positions count on from segment to segment, so
    take one that goes by distances, such as xl() or rotary(). Takes softmax(), quadratic() and metric(). The state
    cannot take tokens back. Source: Dai et al. 2019 (Transformer-XL), arXiv:1901.02860.
    """

    can = frozenset(
        {"causal", "streaming", "padding", "qk_position", "score_position", "weight_position", "export", "relative"}
    )
    length: int = 512
    "Tokens that each layer remembers."

    def check(self) -> None:
        if self.length < 1:
            raise ValueError(f"recurrent: length must be at least 1, but {self.length} was given; use none() for none")

    def module(self, site: Site, mixer: MixerModule) -> MixerMemory:
        self.check_keys(site, mixer)
        return RecurrentMemory(self.length)

    def tokens(self, context_length: int) -> int:
        return self.length

    def reach(self, layers: int, context_length: int) -> int:
        return self.length * layers


@dataclass(frozen=True)
class RecurrentState(State):
    """The last tokens, as a mixer saw them."""

    memory: Remembered
    "The tokens of each row."

    def reorder(self, rows: Tensor) -> Self:
        seen_b = self.seen_b.index_select(0, rows.to(self.seen_b.device))
        return replace(self, seen_b=seen_b, memory=self.memory.reorder(rows))

    def reset(self, rows_b: Tensor) -> Self:
        return replace(self, seen_b=self.seen_b.masked_fill(rows_b, 0), memory=self.memory.without(rows_b))


class RecurrentMemory(MixerMemory):
    states = (RecurrentState,)

    def __init__(self, length: int):
        super().__init__()
        self.length = length

    def forward(self, given: MemoryInput) -> tuple[Tensor, State | None]:
        mixer, context = given.mixer, given.context
        state = context.state
        assert state is None or isinstance(state, RecurrentState)
        q_bhlk, k_bglk, v_bglv = mixer.project(context)
        new = Remembered.of(context, k_bglk, v_bglv)
        past = () if state is None else (state.memory,)
        seen = seen_together(mixer, past, new, k_bglk, v_bglv)
        bias = row_bias(mixer.score_position, context.positions_bl, seen.positions_bs)
        y_bld = mixer.finish(mixer.attend_to(seen, q_bhlk, bias), context)
        if not context.keep_state:
            return y_bld, None
        kept = new.last(self.length) if state is None else state.memory.followed_by(new, self.length, seen)
        return y_bld, RecurrentState(context.seen_b, kept)
