"""References of feed-forwards and their non-linearities."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from formers.ffn import Glu, Mlp, SeparableConv
from formers.part import Site
from formers.testing.references.algebra import Weights, project
from formers.testing.references.registry import reference


def _positive_part(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.0)


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": _positive_part,
    "squared_relu": lambda x: _positive_part(x) ** 2,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x)),
    "identity": lambda x: x,
}


@reference(Mlp)
def mlp(part: Mlp, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """down(act(up(x))); in how many pieces the tokens go through makes no difference."""
    return project(weights, "down_proj", _FUNCTIONS[part.activation](project(weights, "up_proj", x)))


@reference(Glu)
def glu(part: Glu, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """down(act(gate(x)) ⊙ up(x))."""
    gate = _FUNCTIONS[part.activation](project(weights, "gate_proj", x))
    return project(weights, "down_proj", gate * project(weights, "up_proj", x))


@reference(SeparableConv)
def separable_conv(part: SeparableConv, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """down(act(up(x))): each a sum over neighbours, feature by feature, and a projection."""
    hidden = _FUNCTIONS[part.activation](project(weights, "up_proj", _filtered(weights["up_filter.weight"], site, x)))
    return project(weights, "down_proj", _filtered(weights["down_filter.weight"], site, hidden))


def _filtered(w_kd: Tensor, site: Site, x_bld: Tensor) -> Tensor:
    """Return Σ_j w_j x_{i + j − before} over the tokens that there are, (B, L, D)."""
    before = len(w_kd) - 1 if site.causal else len(w_kd) // 2
    rows = []
    for i in range(x_bld.shape[1]):
        near = [(j, i + j - before) for j in range(len(w_kd)) if 0 <= i + j - before < x_bld.shape[1]]
        rows.append(torch.stack([w_kd[j] * x_bld[:, at] for j, at in near]).sum(0))
    return torch.stack(rows, 1)
