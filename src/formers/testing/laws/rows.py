"""Law 5: the rows of a batch are independent.

A batch of rows gives what its rows give one by one.

Inputs: three rows, the first of them 10,000 times larger, without and with padding, in evaluation and in training mode.

Exempt: nothing. Random choices that are made once for all rows are the same in both runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.part import Part, Site
from formers.testing.compare import assert_same
from formers.testing.harness import SITE, abilities, build, directions, padding_mask, seed_cpu, tokens


def rows_are_independent(part: Part, site: Site = SITE) -> None:
    """A batch gives what its rows give one by one, and an outlier in one row changes no other, in train mode too."""
    x = tokens(3, width=site.width)
    loud = x.clone()
    loud[0] *= 1e4
    for causal in directions(part):
        for training in (False, True):
            module = build(part, causal=causal, site=site).train(training)
            for mask_bl in (None, padding_mask(3)) if "padding" in abilities(part) else (None,):
                got = _seeded(module, loud, mask_bl)
                for b in (1, 2):
                    mask = None if mask_bl is None else mask_bl[b : b + 1]
                    alone = _seeded(module, x[b : b + 1], mask)
                    assert_same(got[b], alone[0], f"{part}: row {b}, in a batch with an outlier instead of alone,")


def _seeded(module: nn.Module, x: Tensor, mask_bl: Tensor | None) -> Tensor:
    """The output, with the same random choices every time: those are made once for all rows."""
    with torch.random.fork_rng(devices=[]):
        seed_cpu(1)
        return module(x, mask_bl=mask_bl)[0]
