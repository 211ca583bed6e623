"""Law 13: the cost grows with the length as promised.

Operations counted at L and at 2L grow as `growth()` of the part says: 2 times, 2.8 times or 4 times.

Inputs: L = 4,096 on the meta device. Nothing is timed: times are for benchmarks.

Exempt: parts that only do element-wise work, which is not counted and is linear; they must promise that.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from formers.mixers import Mixer
from formers.part import Part, Site
from formers.testing.harness import SITE, build, directions, tokens

_LONG = 4096
"""Tokens at which the growth to twice as many is counted: enough for the largest power to lead."""
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


def flops(part: Part, causal: bool, site: Site, length: int) -> int:
    """Counted operations of a forward pass without data."""
    from formers.models.costs import FFTS  # here, because it takes Hugging Face's library with it

    there = replace(site, context_length=length)  # a model for this length: what it takes as given may depend on that
    module: nn.Module = build(part, causal=causal, site=there, dtype=torch.float32).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=FFTS) as counter:
        module(tokens(1, 1, site.width, dtype=torch.float32).to("meta").expand(1, length, -1))
    return int(counter.get_total_flops())
