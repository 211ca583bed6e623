"""Exponential features, a tile that fits the cache at a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from formers.ops.common.derivatives import is_transformed, needs_autograd
from formers.ops.common.workspace import should_tile

_LOG2_E = math.log2(math.e)
NUMBERS_AT_ONCE = 1 << 18
"""Features in a tile on a CPU: 1 MB in float32, which stays in its cache between the product and the exponential."""


def exp_features(x_bhlk: Tensor, w_mk: Tensor, shift_bhl: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return φ, (B, H, L, M), of the op of the same name."""
    shift_n1 = None if shift_bhl is None else shift_bhl.reshape(-1, 1)
    # Compilers fuse plain operations; two such functions in a graph of open sizes are more than dynamo knows to trace.
    plain = is_transformed() or torch.compiler.is_compiling()
    form = _by_autograd if plain else _ExpFeatures.apply
    phi_nm = form(x_bhlk.reshape(-1, x_bhlk.shape[3]), w_mk, shift_n1, dtype)
    return phi_nm.view(*x_bhlk.shape[:3], w_mk.shape[0])


def largest_exponents(x_bhlk: Tensor, w_mk: Tensor) -> Tensor:
    """Return max_m w_m·x, (B, H, L), of the op of the same name."""
    x_nk = x_bhlk.reshape(-1, x_bhlk.shape[3])
    tiles = _tiles(x_nk.shape[0], w_mk.shape[0], x_nk)
    found = [(x_nk[tile] @ w_mk.mT).amax(1) for tile in tiles] or [x_nk.new_empty(0)]
    return torch.cat(found).view(x_bhlk.shape[:3])


class _ExpFeatures(torch.autograd.Function):
    """(x (N, K), w (M, K), shift (N, 1) or None, dtype) → φ (N, M).

    To base 2: on a CPU exp2 is several times faster than exp, which is slowest on what underflows.
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor, shift: Tensor | None, dtype: torch.dtype) -> Tensor:
        phi, w = x.new_empty(x.shape[0], w.shape[0]), w * _LOG2_E
        shift = None if shift is None else shift * _LOG2_E
        for i in _tiles(phi.shape[0], phi.shape[1], phi):
            torch.mm(x[i], w.mT, out=phi[i])
            phi[i].sub_(phi[i].amax(1, keepdim=True) if shift is None else shift[i]).exp2_()
        return phi.to(dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, w, shift, _ = inputs
        ctx.save_for_backward(w, output)
        ctx.shifted = shift is not None

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        w, phi = ctx.saved_tensors
        if needs_autograd(g):  # the gradients are functions of φ, through which their own go on
            gp = g.to(w.dtype) * phi
            return gp @ w.detach(), None, -gp.sum(1, keepdim=True) if ctx.shifted else None, None
        gx = w.new_empty(phi.shape[0], w.shape[1])
        gshift = w.new_empty(phi.shape[0], 1) if ctx.shifted else None
        for i in _tiles(phi.shape[0], phi.shape[1], phi):
            gp = g[i].to(w.dtype) * phi[i]
            torch.mm(gp, w, out=gx[i])
            if gshift is not None:
                torch.sum(gp, 1, keepdim=True, out=gshift[i]).neg_()
        return gx, None, gshift, None


def _by_autograd(x: Tensor, w: Tensor, shift: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return what `_ExpFeatures` does, in operations that autograd knows."""
    exponents = x @ w.detach().mT
    return (exponents - (exponents.detach().amax(1, keepdim=True) if shift is None else shift)).exp().to(dtype)


def _tiles(rows: int, count: int, like: Tensor) -> list[slice]:
    """Return which of the rows, with `count` features each, to work on at once on the device of `like`."""
    if not should_tile(like):
        return [slice(None)]
    step = max(NUMBERS_AT_ONCE // max(count, 1), 1)
    return [slice(i, i + step) for i in range(0, rows, step)]
