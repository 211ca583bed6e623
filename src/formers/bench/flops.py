"""The floating-point operations of each phase."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from formers.bench.phases import Phase, state_after
from formers.bench.sizes import Sizes
from formers.models.costs import FFTS

BACKWARD = 2
"""Passes that the backward pass counts for: for each product one by either factor. What is computed again is not counted."""


def flops(build: Callable[[], nn.Module], phase: Phase, sizes: Sizes) -> int:
    """Operations of one call (one token, for a step), counted without data as `formers.models.costs` counts them.

    Exact attention is counted over all pairs even when causal, as is the custom: a kernel that leaves out the masked half can
    seem up to twice as fast as the machine.
    """
    with torch.device("meta"):
        mixer = build().eval()
        x_bld = torch.zeros(sizes.batch, sizes.length, sizes.width)
    state = state_after(mixer, x_bld) if phase == "step" else None
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=FFTS) as counter:
        if state is None:
            mixer(x_bld)
        else:
            mixer(x_bld[:, :1], state)
    return int(counter.get_total_flops()) * (1 + BACKWARD if phase == "training" else 1)
