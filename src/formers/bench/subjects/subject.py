"""The interface of everything that can be timed."""

from __future__ import annotations

from typing import Protocol

from formers.bench.measuring.phase_calls import PhaseCall
from formers.bench.phases import Phase
from formers.bench.results import Status
from formers.bench.sizes import Sizes

NO_BIDIRECTIONAL_STATE = "a bidirectional mixer keeps no state: tokens still to come would change its outputs"


class Subject(Protocol):
    """One thing that is timed.

    Attributes:
        name: its text form.
        kind: `mixer`: with its projections, hidden states in and out; `kernel`: without.
    """

    name: str
    kind: str

    def objection(self, sizes: Sizes, causal: bool) -> tuple[Status, str] | None:
        """Return why it must not be timed at all, as a status and a cause; None where nothing speaks against it."""

    def missing_phase(self, phase: Phase, causal: bool) -> str:
        """Return why it has no such phase; empty where it has."""

    def phase_call(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> PhaseCall:
        """Return the call that does `phase`. Raise what the subject raises, memory errors included."""

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> int | None:
        """Return the operations of a call; None where they cannot be counted."""
