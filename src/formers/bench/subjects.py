"""What can be timed: a mixer in its text form, bare scaled dot-product attention, or an installed peer."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Protocol

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as sdpa

from formers.bench import flops as counting
from formers.bench.peers import PEERS, PREFIX, Peer
from formers.bench.phases import Phase, Prepared, gradients, prepare, without_gradients
from formers.bench.record import Status
from formers.bench.sizes import Sizes
from formers.bench.timing import Call
from formers.mixers import Mixer
from formers.part import Site, Unsupported
from formers.testing import broken_laws

_SDPA = "sdpa"
_STREAMED: tuple[Phase, ...] = ("prefill", "step")
_BOTH_WAYS = "a bidirectional mixer keeps no state: tokens still to come would change its outputs"


class Subject(Protocol):
    """One thing that is timed.

    Attributes:
        name: its text form.
        kind: `mixer`: with its projections, hidden states in and out; `kernel`: without.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...

    def objection(self, sizes: Sizes, causal: bool) -> tuple[Status, str] | None:
        """Why it must not be timed, as a status and a cause; None where nothing speaks against it."""

    def lacks(self, phase: Phase, causal: bool) -> str:
        """Why there is no such phase for it; empty where there is."""

    def prepare(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> Prepared:
        """What does `phase`."""

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> int | None:
        """Operations of a call; None where they cannot be counted."""


class PartSubject:
    """A mixer of this library (or of yours), timed whole and only if it keeps its laws."""

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

    def lacks(self, phase: Phase, causal: bool) -> str:
        if phase in _STREAMED and not causal:
            return _BOTH_WAYS
        return "it does not stream" if phase in _STREAMED and "streaming" not in self.part.abilities else ""

    def prepare(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> Prepared:
        return prepare(lambda: self.part.build(sizes.site(causal)), phase, sizes, device)

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> int:
        return counting.flops(lambda: self.part.build(sizes.site(causal)), phase, sizes)


def _law_site(heads: int) -> Site:
    """Where laws are tried: small, with a multiple of the heads, at least four: some options tell heads apart."""
    heads *= -(-4 // heads)
    return Site(width=8 * heads, heads=heads, causal=False, context_length=128)


class _PeerSubject:
    """Another library's mixer, as it comes."""

    kind = "mixer"

    def __init__(self, peer: Peer) -> None:
        self.peer, self.name = peer, PREFIX + peer.package

    def objection(self, sizes: Sizes, causal: bool) -> tuple[Status, str] | None:
        if not self.peer.installed:
            return "missing", f"not installed: pip install {self.peer.package}"
        try:
            self.build(sizes, causal)
        except Unsupported as error:
            return "unsupported", str(error)
        return None

    def lacks(self, phase: Phase, causal: bool) -> str:
        return "a peer is not streamed here" if phase in _STREAMED else ""

    def prepare(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> Prepared:
        return prepare(lambda: self.build(sizes, causal), phase, sizes, device)

    def build(self, sizes: Sizes, causal: bool) -> nn.Module:
        return self.peer.build(sizes.site(causal))

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> None:
        return None


class _SdpaSubject:
    """torch's fused attention alone, on queries, keys and values that are there already."""

    name, kind = _SDPA, "kernel"

    def objection(self, sizes: Sizes, causal: bool) -> tuple[Status, str] | None:
        return None

    def lacks(self, phase: Phase, causal: bool) -> str:
        if phase in _STREAMED and not causal:
            return _BOTH_WAYS
        return (
            "the bare kernel keeps no state; its step looks at keys and values that are there"
            if phase == "prefill"
            else ""
        )

    def prepare(self, phase: Phase, sizes: Sizes, causal: bool, device: str) -> Prepared:
        shape = (sizes.batch, sizes.length, sizes.heads, sizes.width // sizes.heads)
        q, k, v = (torch.randn(shape, device=device).transpose(1, 2) for _ in range(3))
        if phase == "training":
            for tensor in (q, k, v):
                tensor.requires_grad_()
            return Prepared(call=Call(run=lambda: gradients(sdpa(q, k, v, is_causal=causal), [q, k, v])))
        if phase == "forward":
            return Prepared(call=Call(run=without_gradients(lambda: sdpa(q, k, v, is_causal=causal))))
        return Prepared(call=Call(run=without_gradients(lambda: sdpa(q[:, :, -1:], k, v))))

    def flops(self, phase: Phase, sizes: Sizes, causal: bool) -> int:
        queries = 1 if phase == "step" else sizes.length
        forward = 4 * sizes.batch * queries * sizes.length * sizes.width
        return forward * (1 + counting.BACKWARD if phase == "training" else 1)


def parse_subject(text: str) -> Subject:
    """The subject that a text means. Raises with the nearest name where there is none."""
    text = text.strip()
    if text == _SDPA:
        return _SdpaSubject()
    if text.startswith(PREFIX):
        package = text.removeprefix(PREFIX)
        known = {peer.package: peer for peer in PEERS}
        if package not in known:
            near = get_close_matches(package, known, n=1)
            hint = (
                f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(PREFIX + name for name in known)}"
            )
            raise ValueError(f"no peer is called {text!r}; {hint}")
        return _PeerSubject(known[package])
    if get_close_matches(text, [_SDPA], cutoff=0.7):
        raise ValueError(f"mixer has no member {text!r}; did you mean {_SDPA!r}?")
    return PartSubject(Mixer.parse(text))


def parse_subjects(texts: list[str]) -> tuple[Subject, ...]:
    """Several subjects; one that is given twice is timed once."""
    return tuple({subject.name: subject for subject in map(parse_subject, texts)}.values())
