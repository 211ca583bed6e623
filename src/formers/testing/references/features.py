"""References of feature maps, each as the similarity of all queries and keys that it stands for.

Where a feature map needs a normaliser, similarities may be off by a factor per query, which that divides out.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from formers.mixers import ArcCosine, Elu, Exp, Favor, Hedgehog, RandomFourier, Relu, SquaredRelu, T2r, Taylor2
from formers.part import Part, Site
from formers.testing.references.algebra import Weights
from formers.testing.references.registry import reference


def least_denominator(part: Part) -> float:
    """Return the size that smaller sums of similarities count as: what one key alone has in the exact kernel."""
    return math.exp(-2 / part.sigma**2) if isinstance(part, RandomFourier) else 0.0


def _products(phi_q: Tensor, phi_k: Tensor) -> Tensor:
    return torch.einsum("bhim,bhjm->bhij", phi_q, phi_k)


_ELEMENTWISE: dict[type[Part], Callable[[Tensor], Tensor]] = {
    Elu: lambda x: torch.where(x > 0, x + 1, torch.where(x > 0, 0.0, x).exp()),
    Relu: lambda x: torch.where(x > 0, x, 0.0),
    SquaredRelu: lambda x: torch.where(x > 0, x, 0.0) ** 2,
    Exp: torch.exp,
}
"""φ(x): x + 1 above 0 and exp(x) below; max(x, 0); its square; exp(x)."""


def features_of(part: Part, weights: Weights, q_bhlk: Tensor, k_bhsk: Tensor) -> tuple[Tensor, Tensor]:
    """Return φ(q) and φ(k) themselves. Raise LookupError where only their products are known here."""
    if isinstance(part, Favor):
        return _favor_features(part, weights, q_bhlk, k_bhsk)
    if isinstance(part, Hedgehog):
        return _sharp(q_bhlk, weights["query_hkk"]), _sharp(k_bhsk, weights["key_hkk"])
    if isinstance(part, T2r):
        return _rectified(q_bhlk, weights), _rectified(k_bhsk, weights)
    if type(part) not in _ELEMENTWISE:
        raise LookupError(f"the reference of {part} knows products of its features only")
    phi = _ELEMENTWISE[type(part)]
    return phi(q_bhlk), phi(k_bhsk)


def _sharp(x_bhlk: Tensor, w_hmk: Tensor) -> Tensor:
    """Return exp(w·x) over its sum, beside exp(−w·x) over its own."""
    along = torch.einsum("bhlk,hmk->bhlm", x_bhlk, w_hmk)
    shares = [e / e.sum(-1, keepdim=True) for e in (along.exp(), (-along).exp())]
    return torch.cat(shares, -1)


def _rectified(x_bhlk: Tensor, weights: Weights) -> Tensor:
    """Return max(w·x + b, 0)."""
    along = torch.einsum("bhlk,hmk->bhlm", x_bhlk, weights["weight_hmk"]) + weights["bias_hm"][:, None]
    return torch.where(along > 0, along, 0.0)


@reference(Elu, Relu, SquaredRelu, Exp, Hedgehog, T2r)
def elementwise(part: Part, site: Site, weights: Weights, q_bhlk: Tensor, k_bhsk: Tensor) -> Tensor:
    """Products of the features themselves: φ of every number, or learned ones."""
    return _products(*features_of(part, weights, q_bhlk, k_bhsk))


@reference(Taylor2)
def taylor2(part: Taylor2, site: Site, weights: Weights, q_bhlk: Tensor, k_bhsk: Tensor) -> Tensor:
    """1 + s + s²/2, s = q·k/√K."""
    s = _products(q_bhlk, k_bhsk) / math.sqrt(q_bhlk.shape[3])
    return 1 + s + s**2 / 2


@reference(Favor)
def favor(part: Favor, site: Site, weights: Weights, q_bhlk: Tensor, k_bhsk: Tensor) -> Tensor:
    """φ(q)·φ(k) of FAVOR+."""
    return _products(*features_of(part, weights, q_bhlk, k_bhsk))


def _favor_features(part: Favor, weights: Weights, q_bhlk: Tensor, k_bhsk: Tensor) -> tuple[Tensor, Tensor]:
    """Return φ(q) and φ(k) with x = input·K^{−1/4} and the saved directions w.

    positive: φ(x) = exp(w·x − |x|²/2)/√M; hyperbolic: the same with w and −w; trigonometric: (sin w·x, cos w·x) times
    exp(|x|²/2)/√(M/2); relu: max(w·x, 0)/√M + 0.001. Exponents are lowered as published, by the largest of each query
    and by the largest over all keys, which the normaliser divides out.
    """
    w = weights["directions.w_mk"]
    q, k = (x / q_bhlk.shape[3] ** 0.25 for x in (q_bhlk, k_bhsk))
    along_q, along_k = (torch.einsum("bhlk,mk->bhlm", x, w) for x in (q, k))
    half_k = (k**2).sum(-1, keepdim=True) / 2
    if part.kind == "relu":
        q, k = (torch.where(p > 0, p, 0.0) / math.sqrt(len(w)) + 0.001 for p in (along_q, along_k))
        return q, k
    if part.kind == "trigonometric":
        q, k = (torch.cat([p.sin(), p.cos()], -1) / math.sqrt(len(w)) for p in (along_q, along_k))
        return q, k * half_k.exp()
    if part.kind == "hyperbolic":
        along_q, along_k = (torch.cat([p, -p], -1) for p in (along_q, along_k))
    q_exponents, k_exponents = along_q, along_k - half_k
    q = (q_exponents - q_exponents.amax(-1, keepdim=True).detach()).exp()
    k = (k_exponents - k_exponents.amax((-2, -1), keepdim=True).detach()).exp()
    return q, k


@reference(RandomFourier)
def random_fourier(part: RandomFourier, site: Site, weights: Weights, q_bhlk: Tensor, k_bhsk: Tensor) -> Tensor:
    """φ(x) = (sin w·x̂/σ, cos w·x̂/σ)/√(M/2), so that φ(q)·φ(k) is the mean of cos(w·(q̂ − k̂)/σ) over the directions w."""
    w = weights["directions.w_mk"]
    between = _unit(q_bhlk)[:, :, :, None] - _unit(k_bhsk)[:, :, None]
    return (torch.einsum("bhijk,mk->bhijm", between, w) / part.sigma).cos().sum(-1) / len(w)


@reference(ArcCosine)
def arc_cosine(part: ArcCosine, site: Site, weights: Weights, q_bhlk: Tensor, k_bhsk: Tensor) -> Tensor:
    """φ(x) = max(w·x̂, 0)·√(2/M)."""
    w = weights["directions.w_mk"]
    q, k = (torch.einsum("bhlk,mk->bhlm", _unit(x), w) for x in (q_bhlk, k_bhsk))
    return _products(torch.where(q > 0, q, 0.0), torch.where(k > 0, k, 0.0)) * 2 / len(w)


def _unit(x: Tensor) -> Tensor:
    """Return x/|x|, smooth at zero."""
    return x / torch.sqrt((x**2).sum(-1, keepdim=True) + 1e-12)
