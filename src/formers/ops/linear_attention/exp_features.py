"""Exponential random features, whose products estimate the softmax kernel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.linear_attention import exp_features_tiled, feature_rows, naive
from formers.ops.linear_attention import exp_features_triton as by_triton


def exp_features(
    x_bhlk: Tensor,
    w_mk: Tensor,
    shift_bhl: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
    impl: str = "auto",
) -> Tensor:
    """Return exponential random features, φ_m(x) = exp(w_m·x − shift), (B, H, L, M).

    Args:
        x_bhlk: (B, H, L, K).
        w_mk: random projections (M, K). They get no gradient.
        shift_bhl: subtracted from the exponents of each token. None subtracts the token's largest, without a gradient:
            for features that a normaliser scales anyway.
        dtype: that φ is rounded to at the end, and kept in; that of x unless given.
        impl: "auto", "torch", "triton" (exponents stay in registers; on a GPU) or "naive".

    Cost: O(L M K); keeps φ for the backward pass.
    Source: Choromanski et al. 2021 (FAVOR+), arXiv:2009.14794.
    Raises ValueError for shapes or dtypes that do not fit.
    """
    checks.sizes(x=(x_bhlk, "BHLK"), w=(w_mk, "MK"))
    checks.same_dtype(x=x_bhlk, w=w_mk)
    if shift_bhl is not None:
        checks.sizes(x=(x_bhlk, "BHLK"), shift=(shift_bhl, "BHL"))
    with without_autocast(x_bhlk.device):
        return _FORMS.run(impl, ExpFeaturesInputs(x_bhlk, w_mk, shift_bhl, dtype or x_bhlk.dtype), x_bhlk.device)


def largest_exponents(x_bhlk: Tensor, w_mk: Tensor, *, impl: str = "auto") -> Tensor:
    """Return max_m w_m·x, (B, H, L), without a gradient: what keeps `exp_features` in range.

    Args and errors are those of `exp_features`. Cost: O(L M K) time, and no features in memory.
    """
    checks.sizes(x=(x_bhlk, "BHLK"), w=(w_mk, "MK"))
    checks.same_dtype(x=x_bhlk, w=w_mk)
    inputs = LargestExponentsInputs(x_bhlk.detach(), w_mk.detach())
    with without_autocast(x_bhlk.device):
        return _EXPONENTS.run(impl, inputs, x_bhlk.device)


class ExpFeaturesInputs(NamedTuple):
    """The checked inputs of `exp_features`, as every form takes them."""

    x_bhlk: Tensor
    w_mk: Tensor
    shift_bhl: Tensor | None
    dtype: torch.dtype


class LargestExponentsInputs(NamedTuple):
    """The checked inputs of `largest_exponents`, as every form takes them."""

    x_bhlk: Tensor
    w_mk: Tensor


_FORMS: Forms[ExpFeaturesInputs, Tensor] = Forms(
    "exp_features",
    Form("torch", exp_features_tiled.exp_features),
    Form("triton", by_triton.exp_features, feature_rows.unsupported_reasons, feature_rows.slow_reasons),
    Form("naive", naive.exp_features),
    preference={"cpu": ["torch"], "cuda": ["triton", "torch"]},
)
_EXPONENTS: Forms[LargestExponentsInputs, Tensor] = Forms(
    "largest_exponents",
    Form("torch", exp_features_tiled.largest_exponents),
    Form("triton", by_triton.largest_exponents, feature_rows.unsupported_reasons, feature_rows.slow_reasons),
    Form("naive", naive.largest_exponents),
    preference={"cpu": ["torch"], "cuda": ["triton", "torch"]},
)
