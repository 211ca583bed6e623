"""Weights that are read off a mixer, against the formula."""

from __future__ import annotations

import torch

from formers.mixers import Identity, Linear, Mixer, Softmax
from formers.mixers.mixer import MixerModule
from formers.mixers.mixing_weights import influence, mixing_weights
from formers.part import Site


def built(mixer: Mixer, causal: bool) -> MixerModule:
    torch.manual_seed(0)
    return mixer.build(Site(width=12, heads=3, causal=causal)).double().eval()


def test_of_softmax_they_are_the_softmax() -> None:
    module = built(Softmax(), causal=True)
    x_bld = torch.randn(1, 7, 12, dtype=torch.float64)
    q, k = (proj(x_bld)[0].unflatten(-1, (3, 4)).transpose(0, 1) for proj in (module.q_proj, module.k_proj))
    hidden = torch.ones(7, 7, dtype=torch.bool).triu(1)
    expected = ((q @ k.mT) / 2).masked_fill(hidden, -torch.inf).softmax(-1)
    torch.testing.assert_close(mixing_weights(module, x_bld), expected)


def test_of_linear_attention_they_are_shares_of_the_features() -> None:
    module = built(Linear(), causal=False)
    x_bld = torch.randn(1, 5, 12, dtype=torch.float64)
    q, k = (proj(x_bld)[0].unflatten(-1, (3, 4)).transpose(0, 1) for proj in (module.q_proj, module.k_proj))
    similar = (torch.nn.functional.elu(q) + 1) @ (torch.nn.functional.elu(k) + 1).mT
    torch.testing.assert_close(mixing_weights(module, x_bld), similar / similar.sum(-1, keepdim=True))


def test_without_values_there_is_the_influence_alone() -> None:
    module = built(Identity(), causal=False)
    x_bld = torch.randn(1, 3, 12, dtype=torch.float64)
    assert mixing_weights(module, x_bld) is None
    torch.testing.assert_close(influence(module, x_bld), torch.eye(3, dtype=torch.float64) * 12**0.5)
