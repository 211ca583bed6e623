"""Positions on scores on their way to the kernels."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from formers.mixers import Mixer, Softmax, Sparse
from formers.part import Site
from formers.patterns import Window
from formers.positions import Position
from formers.testing import SITE, assert_same, tokens


class _Slope(Position):
    """−exp(s_h)·|i − j| with learned s: a position that adds to scores, and is a plain function of places."""

    acts_on: ClassVar[Literal["scores"]] = "scores"

    def build(self, site: Site) -> nn.Module:
        return _SlopeModule(site.heads)


class _SlopeModule(nn.Module):
    def __init__(self, heads: int):
        super().__init__()
        self.rate_h = nn.Parameter(torch.zeros(heads))

    def forward(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> Tensor:
        apart_bls = (q_positions_bl.unsqueeze(2) - k_positions_bs.unsqueeze(1)).abs()
        return -self.rate_h.exp()[:, None, None] * apart_bls.unsqueeze(1)


@pytest.mark.parametrize("mixer", [Softmax(), Sparse(pattern=Window(9))], ids=str)
def test_blocks_that_run_again_have_the_weights_of_their_pass(mixer: Mixer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`functional_call` puts weights in for the forward pass; the backward pass, which comes later, has these too."""
    monkeypatch.setattr(importlib.import_module("formers.ops.attention.query_blocks"), "SCORES_AT_ONCE", 1)
    module = mixer.build(replace(SITE, causal=True, position=_Slope())).double()
    weights = {name: (value.detach() + 0.3).requires_grad_() for name, value in module.named_parameters()}
    x_bld = tokens()
    found = torch.autograd.grad(functional_call(module, weights, (x_bld,))[0].square().sum(), [*weights.values()])
    module.load_state_dict(weights)
    want = torch.autograd.grad(module(x_bld)[0].square().sum(), [*module.parameters()])
    for name, got, expected in zip(weights, found, want, strict=True):
        assert_same(got, expected, f"gradient of {name}")
