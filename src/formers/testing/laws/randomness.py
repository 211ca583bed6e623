"""Law 6: evaluation is deterministic, training is a function of the seed, and what was drawn is saved.

Random features, hashes and random blocks are buffers, which survive saving and loading before the first forward pass.

Inputs: two runs with different seeds in evaluation mode and with one seed in training mode, dropout 0.2.

Exempt: nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from formers.part import Part, Site
from formers.testing.compare import assert_zero
from formers.testing.harness import SITE, build, directions, seed_cpu, tokens


def randomness_is_owned(part: Part, site: Site = SITE) -> None:
    """Eval mode draws nothing; train mode repeats with the seed; random buffers survive saving before the first
    forward."""
    x = tokens(width=site.width)
    for causal in directions(part):
        module = build(part, causal=causal, site=replace(site, dropout=0.2))
        assert_zero(_run(module, x, 1) - _run(module, x, 2), f"{part}: difference of two evaluations")
        module.train()
        assert_zero(_run(module, x, 1) - _run(module, x, 1), f"{part}: difference of two training passes with one seed")
        first, second = (build(part, causal=causal, site=site, seed=seed) for seed in (0, 1))
        second.load_state_dict(first.state_dict())
        difference = _run(second, x, 1) - _run(first, x, 1)
        assert_zero(difference, f"{part}: difference between a module and its copy by state dict, before any forward,")


@torch.no_grad()
def _run(module: nn.Module, x: Tensor, seed: int) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        seed_cpu(seed)
        return module(x)[0]
