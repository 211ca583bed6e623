"""Law 13: the cost is as promised.

Operations counted at L and at 2L grow as `growth()` of the part says: 2 times, 2.8 times or 4 times. Operations counted
are those counted by hand (`formers.testing.hand_counts`), forward and backward.

Inputs: L = 4,096 for the growth; less than a chunk, and more than one, for the count by hand; on the meta device.
Nothing is timed: times are for benchmarks.

Exempt: from growth, parts that only do element-wise work, which is not counted and is linear; they must promise that.
From the count, parts that nobody has counted by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor, nn

from formers.mixers import Mixer
from formers.ops import OperationCount
from formers.part import Part, Site
from formers.positions import RelationalPosition
from formers.testing.hand_counts import hand_count
from formers.testing.harness import SITE, build, directions

_LONG = 4096
"""Tokens at which the growth to twice as many is counted: enough for the largest power to lead."""
_LENGTHS = (1, 40, 77, 128)
"""Tokens at which operations are compared with those by hand: one, less than a chunk, more than one, whole chunks."""
_SLACK = 0.15
"""How far the exponent may be off the promise: a factor log L adds 0.1 there."""


def costs_as_promised(part: Part, site: Site = SITE) -> None:
    """Counted operations grow from L to 2L as `part.growth()` says: 2^growth times. Nothing is timed."""
    assert isinstance(part, Mixer)
    counts = {
        causal: (flops(part, causal, site, _LONG), flops(part, causal, site, 2 * _LONG)) for causal in directions(part)
    }
    growths = [math.log2(twice / once) for once, twice in counts.values() if once]
    if not growths:  # only element-wise work, which is not counted: linear
        assert part.growth() == 1, f"{part} promises to grow as L^{part.growth():g}, but only does element-wise work"
        return
    grown = max(growths)
    assert abs(grown - part.growth()) <= _SLACK, (
        f"{part} promises to grow as L^{part.growth():g}, but grows as L^{grown:.2f}"
    )


def counted_as_by_hand(part: Part, site: Site = SITE) -> None:
    """Counted operations, forward and backward, are those that `hand_counts` gives for the part, to the last one.

    Not under a position with products of its own, which hand counts of mixers do not have.
    """
    if site.position is not None and isinstance(site.position.build(site), RelationalPosition):
        return
    for causal, length in product(directions(part), _LENGTHS):
        there = replace(site, causal=causal)
        want = hand_count(part, there, length)
        module, x = _without_data(part, causal, site, length)
        with torch.no_grad(), OperationCount() as forward:
            module(x)
        with OperationCount() as both:
            module(x.requires_grad_())[0].sum().backward()
        for what, got, by_hand in (
            ("forward", forward.total, want.forward),
            ("backward", both.total - forward.total, want.backward),
        ):
            assert got == by_hand, (
                f"{part}, {'causal' if causal else 'bidirectional'}, {length} tokens: {got:,} operations are counted "
                f"{what}, {by_hand:,} by hand"
            )


def flops(part: Part, causal: bool, site: Site, length: int) -> int:
    """Counted operations of a forward pass without data."""
    there = replace(site, context_length=length)  # a model for this length: what it takes as given may depend on that
    module, x = _without_data(part, causal, there, length)
    with torch.no_grad(), OperationCount() as counted:
        module(x)
    return counted.total


def _without_data(part: Part, causal: bool, site: Site, length: int) -> tuple[nn.Module, Tensor]:
    """Return the part in its host and one sequence of tokens, both on the meta device."""
    module = build(part, causal=causal, site=site, dtype=torch.float32).to("meta")
    return module, torch.empty(1, length, site.width, device="meta")
