"""Mixers of this library, or of its users."""

from __future__ import annotations

from formers.bench.measuring.flops import mixer_flops
from formers.bench.measuring.phase_calls import PhaseCall, mixer_call
from formers.bench.phases import STREAMING, Phase
from formers.bench.results import Status
from formers.bench.sizes import Sizes
from formers.bench.subjects.subject import NO_BIDIRECTIONAL_STATE, Subject
from formers.mixers import Mixer
from formers.part import Site, Unsupported
from formers.testing import broken_laws


class MixerSubject(Subject):
    """A mixer, timed whole and only if it keeps its laws."""

    kind = "mixer"

    def __init__(self, part: Mixer) -> None:
        self.part, self.name = part, repr(part).removesuffix("()")

    def objection(self, sizes: Sizes, causal: bool) -> tuple[Status, str] | None:
        try:
            self.part.build(sizes.site(causal))
        except Unsupported as error:
            return "unsupported", str(error)
        broken = broken_laws(self.part, site=_law_site(sizes.heads))
        return ("refused", "; ".join(f"{law}: {how}" for law, how in broken.items())) if broken else None

    def missing_phase(self, phase: Phase, causal: bool) -> str:
        if phase in STREAMING and not causal:
            return NO_BIDIRECTIONAL_STATE
        return "it does not stream" if phase in STREAMING and "streaming" not in self.part.abilities else ""

    def phase_call(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> PhaseCall:
        return mixer_call(lambda: self.part.build(sizes.site(causal)), phase, sizes, device)

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> int:
        return mixer_flops(lambda: self.part.build(sizes.site(causal)), phase, sizes)


def _law_site(heads: int) -> Site:
    """Return a small site for the laws, with a multiple of `heads`, at least four: some options tell heads apart."""
    heads *= -(-4 // heads)
    return Site(width=8 * heads, heads=heads, causal=False, context_length=128)
