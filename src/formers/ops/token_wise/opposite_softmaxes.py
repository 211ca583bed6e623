"""The features of Hedgehog: a softmax over features, and one over their opposites."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from formers.ops.common.dispatch import Form, Forms
from formers.ops.common.dtypes import without_autocast
from formers.ops.token_wise import naive, row_launch
from formers.ops.token_wise import triton_opposite_softmaxes as by_triton


def opposite_softmaxes(x: Tensor, *, impl: str = "auto") -> Tensor:
    """Return [softmax(x), softmax(−x)] over the last axis, (…, D) → (…, 2D), in the dtype of x.

    Args:
        x: of any floating-point dtype; half types are rounded at the end, autocast or not.
        impl: "auto", "triton" (one pass forward and one backward; on a GPU) or "naive" (from the formula).

    Cost: O(N D) time; keeps the result, and "triton" x.
    Source: Zhang et al. 2024 (The Hedgehog & the Porcupine), arXiv:2402.04347.
    Raises ValueError where there are no features.
    """
    if not x.dim() or not x.shape[-1]:
        raise ValueError(f"opposite_softmaxes: x has shape {tuple(x.shape)}; expected features along its last axis")
    with without_autocast(x.device):
        return _FORMS.run(impl, OppositeSoftmaxesInputs(x), x.device)


class OppositeSoftmaxesInputs(NamedTuple):
    """The checked input of `opposite_softmaxes`."""

    x: Tensor


_FORMS: Forms[OppositeSoftmaxesInputs, Tensor] = Forms(
    "opposite_softmaxes",
    Form("naive", naive.opposite_softmaxes),
    Form("triton", by_triton.opposite_softmaxes, row_launch.unsupported_reasons),
    preference={"cpu": ["naive"], "cuda": ["triton", "naive"]},
)
