"""The maximum norm of features, DANet's."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.common.dispatch import Form, Forms
from formers.ops.token_wise import row_launch, triton_max_norm
from formers.ops.token_wise.naive import max_norm as naive_max_norm


def max_norm(x: Tensor, *, eps: float = 1e-3, impl: str = "auto") -> Tensor:
    """Return x/(max_d |x_d| + ε) over the last axis, (…, D) → (…, D).

    Args:
        x: of any floating-point dtype. Several largest features share the gradient of the maximum.
        eps: ε > 0, so that zeros stay zeros.
        impl: "auto", "torch", "triton" (one pass forward and one backward, in float32; on a GPU) or "naive".

    Cost: O(N D) time; keeps x.
    Source: Argatkiny & Makarov 2025 (DenseAttention).
    Raises ValueError for an ε that is not positive, or no features.
    """
    if not eps > 0:
        raise ValueError(f"max_norm: eps must be positive, but {eps} was given; zeros would be divided by it")
    if not x.dim() or not x.shape[-1]:
        raise ValueError(f"max_norm: x has shape {tuple(x.shape)}; expected features along its last axis")
    return _FORMS.run(impl, MaxNormInputs(x, eps), x.device)


class MaxNormInputs(NamedTuple):
    """The checked inputs of `max_norm`."""

    x: Tensor
    eps: float


def _by_torch(x: Tensor, eps: float) -> Tensor:
    return x / (x.abs().amax(-1, keepdim=True) + eps)


_FORMS: Forms[MaxNormInputs, Tensor] = Forms(
    "max_norm",
    Form("torch", _by_torch),
    Form("triton", triton_max_norm.max_norm, row_launch.unsupported_reasons),
    Form("naive", naive_max_norm),
    preference={"cpu": ["torch"], "cuda": ["triton", "torch"]},
)
