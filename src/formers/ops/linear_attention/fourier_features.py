"""Random Fourier features of directions, whose products estimate the Gaussian kernel on the sphere."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.ops.common import checks
from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import accumulation_dtype, without_autocast
from formers.ops.linear_attention import feature_rows, naive
from formers.ops.linear_attention import fourier_features_triton as by_triton


def fourier_features(x_bhlk: Tensor, w_ck: Tensor, *, dtype: torch.dtype | None = None, impl: str = "auto") -> Tensor:
    """Return [sin w·x̂, cos w·x̂]/√C, (B, H, L, 2C), of directions x̂ = x/√(|x|² + 1e−12).

    Args:
        x_bhlk: (B, H, L, K).
        w_ck: random projections (C, K), in float32 or wider. They get no gradient.
        dtype: that φ is rounded to at the end, and kept in; that of w unless given.
        impl: "auto", "triton" (angles stay in registers; on a GPU) or "naive" (from the formula).

    Cost: O(L C K). "triton" keeps x and φ for the backward pass.
    Source: Rahimi & Recht 2007; Peng et al. 2021 (RFA), arXiv:2103.02143.
    Raises ValueError for shapes or dtypes that do not fit.
    """
    checks.sizes(x=(x_bhlk, "BHLK"), w=(w_ck, "CK"))
    if w_ck.dtype != accumulation_dtype(x_bhlk.dtype):
        raise ValueError(f"w_ck is {w_ck.dtype}; expected {accumulation_dtype(x_bhlk.dtype)} for {x_bhlk.dtype} x_bhlk")
    with without_autocast(x_bhlk.device):
        return _FORMS.run(impl, FourierFeaturesInputs(x_bhlk, w_ck, dtype or w_ck.dtype), x_bhlk.device)


class FourierFeaturesInputs(NamedTuple):
    """The checked inputs of `fourier_features`, as every form takes them."""

    x_bhlk: Tensor
    w_ck: Tensor
    dtype: torch.dtype


_FORMS: Forms[FourierFeaturesInputs, Tensor] = Forms(
    "fourier_features",
    Form("naive", naive.fourier_features),
    Form("triton", by_triton.fourier_features, feature_rows.unsupported_reasons, feature_rows.slow_reasons),
    preference={"cpu": ["naive"], "cuda": ["triton", "naive"]},
)
