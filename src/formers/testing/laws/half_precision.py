"""Law 8: a part is finite in float16 and bfloat16.

Outputs and gradients are finite and in the input's dtype, near vanishing denominators and beside rows of padding, too.

Inputs: normalised tokens, tokens of size 0.0001, and zeros; for feature maps, tokens of size 300; a row that is all
padding.

Exempt: inputs at which the exact result itself leaves the range of the dtype, as a norm's gradient at zero; and
large inputs of `exp`, whose features leave float32 from 88 on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.mixers import Exp, FeatureMap
from formers.part import Part, Site
from formers.testing.compare import assert_finite, assert_zero, within_reach
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import SITE, abilities, build, directions, tokens

_SCALES = (1.0, 1e-4, 0.0)
"""Standard deviations of the inputs: normalised, nearly nothing (denominators near zero), nothing."""


_LARGE = 300.0
"""The size of inputs that feature maps take besides: products of two of them leave float16."""


def finite_in_half(part: Part, site: Site = SITE) -> None:
    """Outputs and gradients are finite and of the input's dtype; a row that is all padding too, and it has no
    gradient."""
    for causal in directions(part):
        exact = build(part, causal=causal, site=site)
        for dtype in (torch.float16, torch.bfloat16):
            module = build(part, causal=causal, site=site, dtype=dtype)
            for scale in (*_SCALES, _LARGE) if isinstance(part, FeatureMap) and not isinstance(part, Exp) else _SCALES:
                x = tokens(width=site.width, dtype=dtype) * scale
                _all_finite(module, exact, x, f"{part} in {dtype}, inputs of size {scale:g}")
            if "padding" in abilities(part):
                _masked_row_is_harmless(module, exact, site.width, dtype, f"{part} in {dtype}")


def _all_finite(module: nn.Module, exact: nn.Module, x: Tensor, what: str) -> None:
    found, true = outputs_and_gradients(module, x), outputs_and_gradients(exact, x.double())
    if not within_reach(true.values(), x.dtype):
        return  # a norm's gradient at nothing is 1/ε
    for name, tensor in found.items():
        assert_finite(tensor, f"{what}: {name}")
        assert tensor.dtype == x.dtype, f"{what}: {name} is {tensor.dtype}"


def _masked_row_is_harmless(module: nn.Module, exact: nn.Module, width: int, dtype: torch.dtype, what: str) -> None:
    mask_bl = torch.ones(2, 77, dtype=torch.bool)
    mask_bl[0] = False
    x = tokens(width=width, dtype=dtype)
    found = outputs_and_gradients(module, x, mask_bl=mask_bl)
    if not within_reach(outputs_and_gradients(exact, x.double(), mask_bl=mask_bl).values(), dtype):
        return  # sums that nothing divides grow with the tokens
    for name, tensor in found.items():
        assert_finite(tensor, f"{what}: {name} beside a row of padding")
    assert_zero(found["gradient of the input"][0], f"{what}: gradient of a row of padding")
