"""Exponential features, a piece that fits the cache at a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from formers.ops.common import checks
from formers.ops.common.dispatch import pick
from formers.ops.common.dtypes import without_autocast
from formers.ops.common.workspace import should_tile

_LOG2_E = math.log2(math.e)
NUMBERS_AT_ONCE = 1 << 18
"""Features in a piece on a CPU: 1 MB in float32, which stays in its cache between the product and the exponential."""


def exp_features(x_bhlk: Tensor, w_mk: Tensor, shift_bhl: Tensor | None = None, *, impl: str = "auto") -> Tensor:
    """φ_m(x) = exp(w_m·x − shift), (B, H, L, M).

    Args:
        x_bhlk: (B, H, L, K).
        w_mk: directions (M, K). They get no gradient.
        shift_bhl: subtracted from the exponents of each row. None subtracts the row's largest, without a gradient: for
            features that a normaliser scales anyway.
        impl: "auto", "torch" or "naive".

    Cost: O(L M K); keeps φ for the backward pass.
    Source: Choromanski et al. 2021 (FAVOR+), arXiv:2009.14794.
    """
    checks.sizes(x=(x_bhlk, "BHLK"), w=(w_mk, "MK"))
    checks.same_dtype(x=x_bhlk, w=w_mk)
    if impl != "naive" and shift_bhl is not None:
        checks.sizes(x=(x_bhlk, "BHLK"), shift=(shift_bhl, "BHL"))
    form = pick("exp_features", impl, {"torch": _fused, "naive": plain})
    with without_autocast(x_bhlk.device):
        return form(x_bhlk, w_mk, shift_bhl)


def plain(x_bhlk: Tensor, w_mk: Tensor, shift_bhl: Tensor | None) -> Tensor:
    """From the formula."""
    p_bhlm = x_bhlk @ w_mk.detach().mT
    return (p_bhlm - (p_bhlm.detach().amax(-1) if shift_bhl is None else shift_bhl)[..., None]).exp()


def _fused(x_bhlk: Tensor, w_mk: Tensor, shift_bhl: Tensor | None) -> Tensor:
    """To base 2: on a CPU exp2 is several times faster than exp, which is slowest on what underflows."""
    shift_n1 = None if shift_bhl is None else shift_bhl.reshape(-1, 1)
    phi_nm = _ExpFeatures.apply(x_bhlk.reshape(-1, x_bhlk.shape[3]), w_mk, shift_n1)
    return phi_nm.view(*x_bhlk.shape[:3], w_mk.shape[0])


class _ExpFeatures(torch.autograd.Function):
    """(x (N, K), w (M, K), shift (N, 1) or None) → φ (N, M)."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, shift: Tensor | None) -> Tensor:
        phi, w = x.new_empty(x.shape[0], w.shape[0]), w * _LOG2_E
        shift = None if shift is None else shift * _LOG2_E
        for i in _pieces(phi):
            torch.mm(x[i], w.mT, out=phi[i])
            phi[i].sub_(phi[i].amax(1, keepdim=True) if shift is None else shift[i]).exp2_()
        return phi

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, w, shift = inputs
        ctx.save_for_backward(w, output)
        ctx.shifted = shift is not None

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        w, phi = ctx.saved_tensors
        gx = phi.new_empty(phi.shape[0], w.shape[1])
        gshift = phi.new_empty(phi.shape[0], 1) if ctx.shifted else None
        for i in _pieces(phi):
            gp = g[i] * phi[i]
            torch.mm(gp, w, out=gx[i])
            if gshift is not None:
                torch.sum(gp, 1, keepdim=True, out=gshift[i]).neg_()
        return gx, None, gshift


def _pieces(phi_nm: Tensor) -> list[slice]:
    """Which rows to work on at once."""
    rows, count = phi_nm.shape
    if not should_tile(phi_nm):
        return [slice(None)]
    step = max(NUMBERS_AT_ONCE // max(count, 1), 1)
    return [slice(i, i + step) for i in range(0, rows, step)]
