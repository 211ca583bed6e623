"""The memory axis: what a layer remembers beyond the tokens that it is given."""

from __future__ import annotations

from typing import ClassVar

from formers.mixers import MixerMemory, MixerModule
from formers.mixers.cached_attention import CachedAttention
from formers.part import Part, Site, Unsupported


class Memory(Part):
    """What a layer remembers beyond the tokens that it is given."""

    carried: ClassVar[bool] = True
    "Whether it comes to anything only where segments follow each other and the state is handed on between them."

    stops_gradients: ClassVar[bool] = True
    "Whether no gradient passes through its state into the segments before."

    def build(self, site: Site, mixer: MixerModule) -> MixerModule:
        """Return the mixer of a layer with this memory in it. Raise `Unsupported` where the two do not go together."""
        memory = self.module(site, mixer)
        memory.built_by = self
        mixer.memory = memory
        return mixer

    def module(self, site: Site, mixer: MixerModule) -> MixerMemory:
        """Return the memory for a mixer at this site, or raise `Unsupported`. A memory overrides this or `build`."""
        raise NotImplementedError

    def tokens(self, context_length: int) -> int:
        """Return how many tokens have to come before the state is as large as it gets, in a model of this length."""
        raise NotImplementedError

    def reach(self, layers: int, context_length: int) -> int:
        """Return how many tokens before a segment its outputs depend on, in a model of so many layers, of this length.

        That is where what a layer remembers is whole segments; else it may be up to a segment more for each layer.
        """
        raise NotImplementedError

    def check_keys(self, site: Site, mixer: MixerModule) -> CachedAttention:
        """Return the mixer if its queries may see more keys than there are new tokens. Raise `Unsupported` if not."""
        if not site.causal:
            raise Unsupported(
                f"memory {self} goes from a segment to the next one, but the model is bidirectional: earlier tokens "
                "would have to see later ones. Use it in a causal model, or memory none()"
            )
        if not isinstance(mixer, CachedAttention):
            raise Unsupported(
                f"memory {self} cannot be added to {mixer.built_by or type(mixer).__name__}: its queries cannot be "
                "fewer than its keys, as they are where remembered tokens have keys and no queries. Use softmax(), "
                "quadratic() or metric(), or memory none()"
            )
        return mixer
