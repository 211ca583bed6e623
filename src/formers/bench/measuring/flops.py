"""Floating-point operations of each phase of a mixer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from formers.bench.measuring.phase_calls import mixed, state_after
from formers.bench.phases import Phase
from formers.bench.sizes import Sizes
from formers.ops import OperationCount

TRAINING_PASSES = 3
"Forward passes that a training step counts for: a backward pass has a product by either factor. Recomputation is free."


def mixer_flops(build: Callable[[], nn.Module], phase: Phase, sizes: Sizes) -> int:
    """Return the operations of one call (one token, for a step), counted without data as `formers.models.costs` does.

    Exact attention is counted over all pairs even when causal, as is the custom: a kernel that leaves out the masked
    half can seem up to twice as fast as the machine.
    """
    with torch.device("meta"):
        mixer = build().eval()
        x_bld = torch.zeros(sizes.batch, sizes.length, sizes.width)
    state = state_after(mixer, x_bld) if phase == "step" else None
    with torch.no_grad(), OperationCount() as counted:
        if state is not None:
            mixer(x_bld[:, :1], state)
        elif phase == "prefill":
            mixer(x_bld)
        else:
            mixed(mixer, x_bld)
    return counted.total * (TRAINING_PASSES if phase == "training" else 1)
