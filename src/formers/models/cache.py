"""The streaming states of a model as a `transformers.Cache`: what Hugging Face calls `past_key_values`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from formers.part import State, Unsupported

_UNLIMITED = -1
"""Hugging Face's word for a cache without a maximum length."""


class StateLayer(CacheLayerMixin):  # type: ignore[misc]
    """The streaming state of one layer, whatever it looks like, where other models keep keys and values.

    Attributes:
        state: the mixer's state; None before the first token.
        length: tokens seen so far, padding included.
        mask_bl: True = a real token, of all tokens seen so far, (B, length); None = all real.
        is_croppable: whether the states of all layers can forget tokens. If one cannot, none does: they stay in step.
    """

    is_compileable = False
    is_sliding = False
    is_croppable = False
    supports_early_init = False

    def __init__(self) -> None:
        super().__init__()
        self.state: State | None = None
        self.length = 0
        self.mask_bl: Tensor | None = None

    def __repr__(self) -> str:
        return f"StateLayer({type(self.state).__name__}, length={self.length})"

    @property
    def batch_size(self) -> int:
        """Rows of the batch; −1 before the first token."""
        return -1 if self.state is None else len(self.state.seen_b)

    def get_seq_length(self) -> int:
        """Return the number of tokens seen so far, padding included."""
        return self.length

    def get_max_length(self) -> int:
        """Return −1: there is no maximum length."""
        return _UNLIMITED

    def get_max_cache_shape(self) -> int:
        """Return −1: the older name of `get_max_length`."""
        return _UNLIMITED

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many tokens there are with `query_length` new ones, and the index of the first."""
        return self.length + query_length, 0

    def reset(self) -> None:
        """Forget every token."""
        self.state, self.length, self.mask_bl = None, 0, None

    def reset_rows(self, rows_b: Tensor) -> None:
        """Forget every token of the rows that are True, (B,) booleans."""
        if self.state is None:
            return
        self.state = self.state.reset(rows_b.to(self.state.seen_b.device))
        mask_bl = self.mask_bl
        if mask_bl is None:
            mask_bl = torch.ones(self.batch_size, self.length, dtype=torch.bool, device=rows_b.device)
        self.mask_bl = mask_bl & ~rows_b.to(mask_bl.device).unsqueeze(1)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Pick rows of the batch, as beam search does: row i becomes row `beam_idx[i]`."""
        if self.state is not None:
            self.state = self.state.reorder(beam_idx)
        if self.mask_bl is not None:
            self.mask_bl = self.mask_bl.index_select(0, beam_idx.to(self.mask_bl.device))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Pick rows of the batch by their indices, or by a mask of booleans."""
        self.reorder_cache(indices.nonzero().flatten() if indices.dtype == torch.bool else indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row, as searches with several continuations do."""
        if self.state is not None:
            rows = torch.arange(self.batch_size, device=self.state.seen_b.device)
            self.reorder_cache(rows.repeat_interleave(repeats))

    def activate_past_recording(self) -> None:
        """Do nothing: a state that can forget tokens can at any time, without keeping more of them."""

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last −`tokens_to_remove` tokens, or if positive, those beyond that many; 0 forgets nothing.

        Raise Unsupported where some layer's state cannot take tokens out again.
        """
        drop = -tokens_to_remove if tokens_to_remove <= 0 else self.length - tokens_to_remove
        drop = min(drop, self.length)
        if drop <= 0 or self.state is None:
            return
        if not self.is_croppable:
            raise Unsupported(
                "this model cannot take tokens back (assisted generation needs that): a layer's state sums them up; "
                "keep a copy of the earlier cache, or use mixers with the ability trim, such as softmax()"
            )
        count_b = torch.full_like(self.state.seen_b, drop) if self.mask_bl is None else self.mask_bl[:, -drop:].sum(-1)
        self.state = self.state.trim(count_b)
        self.mask_bl = None if self.mask_bl is None else self.mask_bl[:, :-drop]
        self.length -= drop

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Raise Unsupported: see `update`."""
        self.update(key_states, value_states)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Raise Unsupported: each mixer has a state of its own, not keys and values to append to."""
        raise Unsupported(
            "keys and values were given to a cache that holds each mixer's own state; they cannot be injected. "
            "Use prompt tuning or LoRA instead of prefix tuning"
        )

    def offload(self) -> None:
        """Raise Unsupported: states stay on the model's device."""
        raise Unsupported("states cannot be offloaded; generate without offloading")

    def prefetch(self) -> None:
        """Raise Unsupported: see `offload`."""
        self.offload()


class StateCache(Cache):  # type: ignore[misc]
    """The states of all layers. A model fills it and moves it on; start one empty, or take it from an earlier call.

        cache = StateCache()
        model(ids, past_key_values=cache)            # or: cache = model(ids, use_cache=True).past_key_values
        model(more_ids, past_key_values=cache)

    The methods of Hugging Face's contract (`reorder_cache`, `batch_repeat_interleave`, `reset`, …) work, or raise
    Unsupported, as `crop` does where a state cannot forget, and as those for keys and values always do.
    """

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=StateLayer)

    @property
    def states(self) -> list[State]:
        """The state of each layer; empty before the first token."""
        return [layer.state for layer in self.layers if layer.state is not None]

    @property
    def seen_b(self) -> Tensor:
        """Real tokens seen so far, per row: the position of the next one. Raise ValueError before the first token."""
        if not self.states:
            raise ValueError("an empty cache has no rows yet; run the model on some tokens first")
        return self.states[0].seen_b

    @property
    def nbytes(self) -> int:
        """Bytes held by all layers."""
        return sum(state.nbytes for state in self.states)

    def reset_rows(self, rows_b: Tensor) -> None:
        """Let the rows that are True, (B,) booleans, begin anew: a text ends there and another one follows.

        Raise Unsupported where a state cannot reset single rows.
        """
        for layer in self.layers:
            layer.reset_rows(rows_b)

    def detach(self) -> None:
        """Cut the states off from the graph that made them, as between segments in training."""
        for layer in self.layers:
            layer.state = None if layer.state is None else layer.state.detach()

    @property
    def is_filled(self) -> bool:
        """True if there are states to go on from."""
        return bool(self.get_seq_length())

    @property
    def is_croppable(self) -> bool:
        """True if `crop` works: every layer's state can forget tokens. False before the first token."""
        return bool(self.layers) and super().is_croppable

    @property
    def max_cache_len(self) -> int:
        """−1: there is no maximum length. PEFT asks under this name."""
        return _UNLIMITED

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """Return −1: there is no maximum length."""
        return _UNLIMITED

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """Return −1: the older name of `get_max_length`."""
        return _UNLIMITED


def check_cache(cache: Any) -> None:
    """Raise unless states can be kept in `cache`: a StateCache, or a DynamicCache that is still empty or holds states.

    Raise TypeError for what is no cache, and Unsupported for a cache of keys and values, or of another kind.
    """
    instead = "pass the StateCache that an earlier call returned, or none to start"
    if not isinstance(cache, Cache):
        raise TypeError(f"past_key_values must be a StateCache, but a {type(cache).__name__} was given; {instead}")
    if isinstance(cache, StateCache):
        return
    if type(cache) is not DynamicCache or cache.offloading:
        what = (
            "an offloading DynamicCache" if type(cache) is DynamicCache else f"a cache of type {type(cache).__name__}"
        )
        raise Unsupported(f"{what} was given, but each mixer keeps a state of its own; {instead}")
    if cache.get_seq_length() and not all(isinstance(layer, StateLayer) for layer in cache.layers):
        raise Unsupported(
            f"a DynamicCache with keys and values of {cache.get_seq_length()} tokens was given, but each mixer keeps a "
            f"state of its own: keys and values, such as those of prefix tuning, cannot be injected; {instead}. "
            "With PEFT, use prompt tuning or LoRA"
        )


def holds_states(cache: Cache) -> bool:
    """Return whether a cache holds states to go on from."""
    return cache.is_filled if isinstance(cache, StateCache) else bool(cache.get_seq_length())


def states_in(cache: Cache, layers: int, batch: int) -> Sequence[State | None]:
    """Return the state of each of `layers` layers, None where nothing has been seen.

    Raise ValueError where the cache belongs to a model of another depth, or to a batch of another size.
    """
    if not holds_states(cache):
        return [None] * layers
    if len(cache.layers) != layers:
        raise ValueError(
            f"past_key_values holds states of {len(cache.layers)} layers, but the model has {layers}; "
            "pass a cache of this model"
        )
    rows = cache.layers[0].batch_size
    if rows != batch:
        raise ValueError(
            f"past_key_values holds states of {rows} rows, but the batch has {batch}; repeat rows with "
            "cache.batch_repeat_interleave(n), or pick some with cache.batch_select_indices(rows)"
        )
    return [layer.state for layer in cache.layers]


def store_states(cache: Cache, states: Sequence[State], mask_bl: Tensor | None, tokens: int) -> None:
    """Put the states after `tokens` more tokens into the cache; `mask_bl` tells the real ones of these, None = all.

    No tokens leave it as it is: at the start there are no states yet.
    """
    if not tokens:
        return
    if not cache.get_seq_length():
        cache.layers[:] = [StateLayer() for _ in states]
    croppable = all(state.can_trim for state in states)
    mask_bl = _joined_masks(cache.layers[0], mask_bl, len(states[0].seen_b), tokens)
    for layer, state in zip(cache.layers, states, strict=True):
        layer.state, layer.length, layer.mask_bl = state, layer.length + tokens, mask_bl
        layer.is_croppable = croppable


def _joined_masks(layer: StateLayer, mask_bl: Tensor | None, batch: int, tokens: int) -> Tensor | None:
    """Return the mask of the tokens seen so far and the new ones; None where all are real."""
    if layer.mask_bl is None and mask_bl is None:
        return None
    known = next(mask for mask in (layer.mask_bl, mask_bl) if mask is not None)
    old = layer.mask_bl if layer.mask_bl is not None else known.new_ones(batch, layer.length)
    new = mask_bl if mask_bl is not None else known.new_ones(batch, tokens)
    return torch.cat([old, new], 1)
