"""Faults of half precision and autocast."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault, spoiled
from torch import Tensor, nn

from formers.mixers import Softmax, kv_cache
from formers.ops.common import checks
from formers.part import Part
from formers.testing import laws


@fault(laws.finite_in_half)
def overflows_in_half(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y * 2.0**18 / 2.0**18, state))


@fault(laws.finite_in_half)
def divides_by_nothing(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-3 * x / x.abs().sum(-1, keepdim=True), state))


@fault(laws.finite_in_half)
def silently_wider(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y.float() if y.dtype != torch.float64 else y, state))


@fault(laws.runs_under_autocast)
def products_of_two_dtypes(patch: Patch) -> Part:
    keys = torch.eye(24, dtype=torch.float64)

    def mix(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        with torch.autocast("cpu", enabled=False):
            return y @ keys.to(x.dtype), state

    return spoiled(Softmax(), mix)


@fault(laws.runs_under_autocast)
def too_coarse(patch: Patch) -> Part:
    return spoiled(
        Softmax(), lambda y, x, state, module: ((y * 4).round() / 4 if y.dtype == torch.bfloat16 else y, state)
    )


@fault(laws.runs_under_autocast)
def norm_beside_a_product(patch: Patch) -> Part:
    """On a GPU, autocast's norms give float32 and its products half: no op takes both."""

    def mix(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        half = x @ torch.eye(24, dtype=x.dtype)
        checks.same_dtype(normed=nn.functional.layer_norm(half, (24,)), product=half)
        return y, state

    return spoiled(Softmax(), mix)


@fault(laws.states_cross_autocast)
def keys_of_another_dtype(patch: Patch) -> Part:
    """Keys that were made outside of autocast stay as they were, beside new ones."""
    patch.setattr(kv_cache, "grow", lambda old, storage, new: (torch.cat([old, new], 2), None))
    return Softmax()
