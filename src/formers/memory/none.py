"""No memory."""

from __future__ import annotations

from formers.memory.memory import Memory
from formers.mixers import MixerModule
from formers.part import ABILITIES, Site


class NoMemory(Memory):
    """y, state = mixer(x, state): nothing but the mixer's own streaming state.

    A training starts anew with every segment, and so does an evaluation.
    """

    can = frozenset(ABILITIES)
    carried = False
    stops_gradients = False

    @classmethod
    def name(cls) -> str:
        return "none"

    def build(self, site: Site, mixer: MixerModule) -> MixerModule:
        return mixer

    def tokens(self, context_length: int) -> int:
        return 0

    def reach(self, layers: int, context_length: int) -> int:
        return 0
