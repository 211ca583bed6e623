"""What a model remembers while it generates."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.part import State, Unsupported


class Stream:
    """The states of all layers: what Hugging Face calls `past_key_values`, whatever each mixer's state looks like."""

    is_compileable = False

    def __init__(self, states: list[State]):
        self.states = states
        self.length = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens seen so far, padding included."""
        return self.length

    @property
    def seen_b(self) -> Tensor:
        """Real tokens seen so far, per row: the position of the next one."""
        return self.states[0].seen_b

    @property
    def nbytes(self) -> int:
        """Bytes held by all layers."""
        return sum(state.nbytes for state in self.states)

    def advance(self, states: list[State], tokens: int) -> Stream:
        """Takes over the states after `tokens` more tokens."""
        self.states, self.length = states, self.length + tokens
        return self

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Picks rows of the batch, as beam search does."""
        self.states = [state.reorder(beam_idx) for state in self.states]

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each row, as searches with several continuations do."""
        rows = torch.arange(len(self.seen_b), device=self.seen_b.device).repeat_interleave(repeats)
        self.reorder_cache(rows)

    @property
    def is_croppable(self) -> bool:
        """Whether `crop` works here: whether every layer's state can forget tokens."""
        return all(type(state).trim is not State.trim for state in self.states)

    def activate_past_recording(self) -> None:
        """Hugging Face calls this before it takes tokens back. Nothing to do: a state that can, can at any time."""

    def crop(self, max_length: int) -> None:
        """Forgets the last −`max_length` tokens, or if positive, those beyond it; 0 forgets nothing.

        Raises `Unsupported` where tokens cannot be taken out of a state again.
        """
        drop = -max_length if max_length <= 0 else self.length - max_length
        if drop <= 0:
            return
        try:
            self.states = [state.trim(torch.full_like(self.seen_b, drop)) for state in self.states]
        except Unsupported as error:
            raise Unsupported(f"this model cannot take tokens back (assisted generation needs that): {error}") from None
        self.length -= drop
