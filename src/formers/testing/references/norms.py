"""References of norms, over the last axis."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.norms import Hardtanh, LayerNorm, MaxNorm, NoNorm, RmsNorm
from formers.part import Site
from formers.testing.references.algebra import Weights
from formers.testing.references.registry import reference


@reference(LayerNorm)
def layer_norm(part: LayerNorm, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """(x − mean)/√(variance + ε) · w + b."""
    centred = x - x.sum(-1, keepdim=True) / x.shape[-1]
    variance = (centred**2).sum(-1, keepdim=True) / x.shape[-1]
    y = centred / (variance + part.eps) ** 0.5 * weights["weight"]
    return y + weights["bias"] if part.bias else y


@reference(RmsNorm)
def rms_norm(part: RmsNorm, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """x/√(mean of x² + ε) · w."""
    return x / ((x**2).sum(-1, keepdim=True) / x.shape[-1] + part.eps) ** 0.5 * weights["weight"]


@reference(MaxNorm)
def max_norm(part: MaxNorm, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """x/(max|x| + ε), with a weight on the result, on the input, or none."""
    scaled = x * weights["weight"] if part.weight == "before" else x
    largest = torch.stack([column.abs() for column in scaled.unbind(-1)]).amax(0)
    y = scaled / (largest[..., None] + part.eps)
    return y * weights["weight"] if part.weight == "after" else y


@reference(Hardtanh)
def hardtanh(part: Hardtanh, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """x between −1 and 1, else the nearer of these."""
    return torch.where(x.abs() > 1, x.sign(), x)


@reference(NoNorm)
def no_norm(part: NoNorm, site: Site, weights: Weights, x: Tensor) -> Tensor:
    """x."""
    return x
