"""Law 2: a causal part cannot see the future.

Changing a token changes no output before it, neither directly nor through statistics, normalisers, stabilisers, sorting
or buffers that training moves, and no gradient flows from an output to a later token.

Inputs: all tokens from 1, 38, 64 and 76 on made 10,000 times larger, in evaluation and in training mode.

Exempt: parts without the ability `causal`, which refuse a causal site.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.part import Part, Site
from formers.testing.compare import assert_same, assert_zero
from formers.testing.harness import LENGTH, SITE, build, seed_cpu, tokens

_CUTS = (1, LENGTH // 2, 64, LENGTH - 1)
"""The laws look at the outputs before these tokens; 64 is where a block would end."""


def cannot_see_the_future(part: Part, site: Site = SITE) -> None:
    """Outputs do not move when later tokens become outliers, in training neither, and have no gradient for them."""
    module = build(part, causal=True, site=site)
    for training in (False, True):
        module.train(training)
        mode = "train" if training else "eval"
        for cut in _CUTS:
            _outlier_changes_nothing(module, cut, site.width, f"{part} in {mode} mode")
        _future_has_no_gradient(module, LENGTH // 2, site.width, f"{part} in {mode} mode")


def _outlier_changes_nothing(module: nn.Module, cut: int, width: int, what: str) -> None:
    x = tokens(width=width)
    changed = x.clone()
    changed[:, cut:] *= 1e4
    before, after = (_seeded(module, t)[:, :cut] for t in (x, changed))
    assert_same(
        after, before, f"{what}: outputs before token {cut}, when all from {cut} on became 10,000 times larger,"
    )


def _future_has_no_gradient(module: nn.Module, cut: int, width: int, what: str) -> None:
    x = tokens(width=width).requires_grad_()
    (gradient,) = torch.autograd.grad(_seeded(module, x)[:, :cut].sum(), x)
    assert_zero(gradient[:, cut:], f"{what}: gradient of the outputs before token {cut} for the tokens from {cut} on")


def _seeded(module: nn.Module, x: Tensor) -> Tensor:
    """Return the output, with the same random choices every time."""
    with torch.random.fork_rng(devices=[]):
        seed_cpu(1)
        return module(x)[0]
