"""The cache of a foreign model whose attention is a mixer of this library: the mixer's state, layer by layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache

from formers.models.cache import StateLayer
from formers.part import State, Unsupported

_CARRIED = "_formers_layer"
"""The attribute by which a key tensor, on its way from the cache to the attention, names its layer of the cache."""


class AttentionLayer(StateLayer):
    """One layer's state. `update` lets new keys pass; the attention function takes them up with the state."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = False

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Return the new keys and values, which name this layer. Raise Unsupported if the last ones got lost."""
        if self.waits:
            raise Unsupported(
                "the model changes its keys between the cache and the attention, so that the attention cannot find "
                "its state; generate with use_cache=False"
            )
        self.waits = True
        keys = key_states.view_as(key_states)  # a tensor of its own: the attribute must not outlive this call
        setattr(keys, _CARRIED, self)
        return keys, value_states

    def move_on(self, state: State, mask_bl: Tensor | None, tokens: int) -> None:
        """Keep the state after `tokens` more tokens; `mask_bl` tells the real ones of all so far, None = all."""
        self.state, self.mask_bl, self.waits = state, mask_bl, False
        self.length += tokens
        self.is_croppable = type(state).trim is not State.trim

    def reset(self) -> None:
        """Forget every token."""
        super().reset()
        self.waits = False


class AttentionCache(Cache):  # type: ignore[misc]
    """What a model remembers whose attention is a mixer of this library: a window's last keys, sums, or all keys.

        model.generate(**inputs, past_key_values=AttentionCache())

    A model that `use_attention` has changed starts on one by itself.
    """

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=AttentionLayer)

    @property
    def nbytes(self) -> int:
        """Bytes held by all layers."""
        return sum(layer.state.nbytes for layer in self.layers if layer.state is not None)


def layer_of(keys: Tensor) -> AttentionLayer | None:
    """Return the layer of an `AttentionCache` that the keys went through; None without one."""
    return getattr(keys, _CARRIED, None)
