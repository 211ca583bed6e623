"""Law 17: a part is the same under autocast.

Mixed precision gives finite results, forward and backward, as near to the exact ones as half precision allows.

Inputs: autocast to bfloat16 and to float16 on the CPU, and on a GPU with the tests that need one. The tolerance is
derived: twice what the exact results move, at most, when inputs and weights move by one rounding, in four draws.

Exempt: nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from formers.part import Part, Site
from formers.testing.compare import assert_finite
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import SITE, build, directions, tokens
from formers.testing.tolerance import FACTOR, FLOOR, error, size

_DTYPES = (torch.bfloat16, torch.float16)
_ROWS = 4
_VANISHING = 1e-12
"""A gradient this much smaller than the largest is zero in exact arithmetic: all of it is rounding, which is judged by
what it is the rounding of."""
_NUDGES = 4
"""A part that chooses, or divides by little, may be far off for some roundings and near for others: several are
tried."""


def runs_under_autocast(part: Part, site: Site = SITE, device: str = "cpu") -> None:
    """Under autocast, output and all gradients are finite and as near to exact ones as rounded inputs and weights
    allow."""
    x = tokens(_ROWS, width=site.width).to(device)
    for causal in directions(part):
        exact = outputs_and_gradients(build(part, causal=causal, site=site).to(device), x)
        largest = max(size(tensor) for tensor in exact.values())
        for dtype in _DTYPES:
            lost = _lost_by_rounding(part, causal, site, x, torch.finfo(dtype).eps, exact)
            module = build(part, causal=causal, site=site, dtype=torch.float32).to(device)
            for name, tensor in outputs_and_gradients(module, x.float(), autocast=dtype).items():
                what = f"{part} under autocast to {dtype}: {name}"
                assert_finite(tensor, what)
                scale = size(exact[name])
                scale = scale if scale > _VANISHING * largest else largest
                allowed = FACTOR * (lost[name] + FLOOR * torch.finfo(dtype).eps * scale)
                off = error(tensor.double(), exact[name])
                assert off <= allowed, f"{what} is off by {off:.3g}; {allowed:.3g} is allowed"


def _lost_by_rounding(
    part: Part, causal: bool, site: Site, x: Tensor, unit: float, exact: dict[str, Tensor]
) -> dict[str, float]:
    """Return how far each result moves, at most, when inputs and weights move by one rounding, computed in float64."""
    draw = torch.Generator().manual_seed(0)

    def nudged(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64).to(tensor.device)
        return tensor * (1 + unit * noise)

    worst = dict.fromkeys(exact, 0.0)
    for _ in range(_NUDGES):
        module = build(part, causal=causal, site=site).to(x.device)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(nudged(parameter))
        moved = outputs_and_gradients(module, nudged(x))
        worst = {name: max(worst[name], error(moved[name], exact[name])) for name in worst}
    return worst
