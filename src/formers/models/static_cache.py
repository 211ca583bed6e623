"""States that keep their place in memory from step to step, so that a decoding step is compiled, or captured, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from formers.models.cache import StateCache, StateLayer
from formers.part import State, Unsupported


class StaticStateLayer(StateLayer):
    """The state of one layer in tensors of its own, which every step overwrites."""

    is_compileable = True
    state: State
    length: Any  # a tensor without dimensions, the same one for all layers

    def __init__(self, state: State, length: Tensor):
        super().__init__()
        self.length = length
        self.keep(state)

    def __repr__(self) -> str:
        return f"StaticStateLayer({type(self.state).__name__}, length={int(self.length)})"

    def keep(self, state: State) -> None:
        """Hold a state in new tensors."""
        self.state = state.map(_in_place)

    def reset_rows(self, rows_b: Tensor) -> None:
        self.state.overwrite(self.state.reset(rows_b.to(self.state.seen_b.device)))

    def reorder_cache(self, beam_idx: Tensor) -> None:
        picked = self.state.reorder(beam_idx)
        if len(picked.seen_b) == self.batch_size:
            self.state.overwrite(picked)
        else:
            self.keep(picked)

    def crop(self, tokens_to_remove: int) -> None:
        """Raise Unsupported: tokens stay in their places."""
        raise Unsupported("a static cache cannot take tokens back, as assisted generation does; use StateCache()")


class StaticStateCache(StateCache):
    """The states of all layers in tensors that keep their size and place, for `max_length` tokens in all.

    The first call makes them, from what it has read; every further one overwrites them. A step of one token then has no
    shape, address or number on the host that depends on the step: `torch.compile` compiles it once, `reduce-overhead`
    captures it as one CUDA graph, and `generate(cache_implementation="static")` has transformers do both on a GPU.

        cache = StaticStateCache(max_length=1024)
        model.generate(ids, past_key_values=cache)
        cache.reset()                                  # keeps the tensors for the next text

    A state of fixed size, as of linear attention or a window, takes what it always does; keys and values take places
    for all `max_length` tokens from the start, and each step looks at all of them. Where `generate` compiles steps, it
    makes every cache as large as the largest before, as transformers does, since another size would be compiled again,
    and in its place, since another would be captured again: the tensors of one cache are kept with the model. Steps of
    a short text after a long one then take as long as those of the long one. Where there will be many such
    steps, give it a cache of their own, as above. Tokens cannot be taken back, and no gradients pass. Raise
    Unsupported, where it is first used, for models whose states cannot keep a size.
    """

    def __init__(self, max_length: int):
        if max_length < 1:
            raise ValueError(f"a static cache needs room for at least 1 token, but max_length={max_length} was given")
        super().__init__()
        self.max_length = max_length
        self._filled = False

    @property
    def is_filled(self) -> bool:
        """True if there are states to go on from."""
        return self._filled

    @property
    def is_compileable(self) -> bool:
        """True, before the first token, too."""
        return True

    @property
    def states(self) -> list[State]:
        """The state of each layer; empty before the first token."""
        return super().states if self.is_filled else []

    def store(self, states: Sequence[State], tokens: int) -> None:
        """Take over the states after `tokens` more tokens, all of them of a fixed size.

        Raise Unsupported for states with gradients, which would be lost.
        """
        if any(t.requires_grad for state in states for t in state.tensors()):
            raise Unsupported("a static cache passes no gradients; run under torch.no_grad(), or with a StateCache()")
        if not self.is_filled and not _fit(self.layers, states):
            self.layers[:] = []  # those of another size, which would take their memory beside the new ones
            length = _in_place(torch.zeros((), dtype=torch.long, device=states[0].seen_b.device))
            self.layers[:] = [StaticStateLayer(state, length) for state in states]
        else:
            for layer, state in zip(self.layers, states, strict=True):
                layer.state.overwrite(state)
        self.layers[0].length.add_(tokens)
        if not self._filled:
            self._filled = True

    def reset(self) -> None:
        """Forget every token, and keep the tensors."""
        self._filled = False
        if self.layers:
            self.layers[0].length.zero_()

    def get_seq_length(self, layer_idx: int = 0) -> Any:
        """Return the number of tokens seen so far, padding included: 0, or a tensor without dimensions."""
        return self.layers[0].length if self.is_filled else 0

    def detach(self) -> None:
        """Do nothing: no gradients pass."""

    @property
    def is_croppable(self) -> bool:
        """False: tokens stay in their places."""
        return False

    @property
    def max_cache_len(self) -> int:
        """The number of tokens there is room for. PEFT asks under this name."""
        return self.max_length

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """Return the number of tokens there is room for."""
        return self.max_length

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """Return the number of tokens there is room for: the older name of `get_max_length`."""
        return self.max_length


def _in_place(t: Tensor) -> Tensor:
    """Return a copy of a tensor that later steps may overwrite, in inference mode and outside it."""
    with torch.inference_mode(False), torch.no_grad():
        own = torch.empty_like(t, memory_format=torch.contiguous_format)
        own.copy_(t)
    if not torch.compiler.is_compiling():
        torch._dynamo.mark_static_address(own)  # else a captured graph would have to copy it in and out
    return own


def _fit(layers: Sequence[StaticStateLayer], states: Sequence[State]) -> bool:
    """Return whether the tensors of earlier states have the types, shapes, dtypes and device of new ones."""

    def kinds(states: Sequence[State]) -> list[Any]:
        return [(type(one), [(t.shape, t.dtype, t.device) for t in one.tensors()]) for one in states]

    return kinds([layer.state for layer in layers]) == kinds(states)
