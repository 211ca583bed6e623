"""References of the mixers without scores: none, pooling, Fourier."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from formers.mixers import Fourier, Identity, Pool
from formers.part import Site
from formers.testing.references.algebra import Weights
from formers.testing.references.positions import on_layer
from formers.testing.references.registry import reference


@reference(Identity)
def identity(part: Identity, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """x."""
    return on_layer(site, weights, x_bld, positions_bl)


@reference(Pool)
def pool(part: Pool, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """y_i = mean of the `window` tokens around i (causal: up to i), as far as there are such tokens, − x_i."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    rows, length = [], x_bld.shape[1]
    for i in range(length):
        first, last = (i - part.window + 1, i) if site.causal else (i - part.window // 2, i + part.window // 2)
        near = [x_bld[:, j] for j in range(first, last + 1) if 0 <= j < length]
        rows.append(sum(near, torch.zeros(())) / len(near) - x_bld[:, i])
    return torch.stack(rows, 1)


@reference(Fourier)
def fourier(part: Fourier, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """y_nd = Re Σ_l Σ_e x_le exp(−2πi·nl/L) exp(−2πi·de/D), with a gain times g_d / √(L·D)."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    along, across = _transform(x_bld.shape[1]), _transform(x_bld.shape[2])
    y_bld = torch.einsum("nl,ble,de->bnd", along, x_bld.to(torch.complex128), across).real
    return y_bld if part.gain is None else weights["gain"] * y_bld / math.sqrt(len(along) * len(across))


def _transform(size: int) -> Tensor:
    """Return the matrix of the discrete Fourier transform."""
    n = torch.arange(size)
    angle = -2 * math.pi * (n[:, None] * n[None, :] % size).double() / size
    return torch.complex(angle.cos(), angle.sin())
