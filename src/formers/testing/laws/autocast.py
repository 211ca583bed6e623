"""Law 17: a part is the same under autocast.

Mixed precision gives finite results, forward and backward, as near to the exact ones as half precision allows.

Inputs: float32 and half tokens under autocast to bfloat16 and to float16, with the dtypes of a CPU and with those of a
GPU, where norms, sums and powers give float32; on a GPU itself with the tests that need one. The tolerance is derived:
twice what the exact results move, at most, when inputs and weights move by one rounding, in up to eight draws.

Exempt: float16 where an exact gradient leaves its range, as of sums that nothing divides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import torch
from torch import Tensor

from formers.part import Part, Site
from formers.testing.compare import assert_finite, within_reach
from formers.testing.gpu_autocast import gpu_autocast
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import LENGTH, SITE, build, directions, tokens
from formers.testing.tolerance import FACTOR, FLOOR, error, size

_Rules: TypeAlias = Callable[[], AbstractContextManager[object]]
_DTYPES = (torch.bfloat16, torch.float16)
_ROWS = 4
_VANISHING = 1e-12
"""A gradient this much smaller than the largest is zero in exact arithmetic: all of it is rounding, which is judged by
what it is the rounding of."""
_NUDGES = 8
"""A part that chooses, or divides by little, may be far off for some roundings and near for others: several are
tried, as many as it takes to explain an error. The gradient of a single number may move by 0.01 in four draws of
roundings, and by 0.09 in the next four."""


def runs_under_autocast(part: Part, site: Site = SITE, device: str = "cpu") -> None:
    """Under autocast, output and all gradients are finite and as near to exact ones as rounded inputs and weights
    allow."""
    x = tokens(_ROWS, width=site.width).to(device)
    for causal in directions(part):
        exact = outputs_and_gradients(build(part, causal=causal, site=site).to(device), x)
        for dtype in (dtype for dtype in _DTYPES if within_reach(exact.values(), dtype)):
            found: dict[str, dict[str, Tensor]] = {}
            for rules, given in _ways(dtype, device):
                module = build(part, causal=causal, site=site, dtype=torch.float32).to(device)
                with rules():
                    context = torch.autocast(x.device.type, dtype)
                    results = outputs_and_gradients(module, x.to(given), context=context)
                found[f"{part} under autocast to {dtype}, given {given}, with {rules.__name__}"] = results
            _judge(found, exact, _lost_by_rounding(part, causal, site, x, dtype, exact), dtype)


def _judge(
    found: dict[str, dict[str, Tensor]],
    exact: dict[str, Tensor],
    losses: Iterator[dict[str, float]],
    dtype: torch.dtype,
) -> None:
    """Raise AssertionError unless some of the roundings tried, which lose more and more, explain every error."""
    for how, results in found.items():
        for name, tensor in results.items():
            assert_finite(tensor, f"{how}: {name}")
    wrong = None
    for lost in losses:
        wrong = _unexplained(found, exact, lost, torch.finfo(dtype).eps)
        if wrong is None:
            return
    raise AssertionError(wrong)


def _unexplained(
    found: dict[str, dict[str, Tensor]], exact: dict[str, Tensor], lost: dict[str, float], unit: float
) -> str | None:
    """Return which result is farther off than what is lost allows, and by how much; None if none is."""
    largest = max(size(tensor) for tensor in exact.values())
    for how, results in found.items():
        for name, tensor in results.items():
            scale = size(exact[name])
            scale = scale if scale > _VANISHING * largest else largest
            allowed = FACTOR * (lost[name] + FLOOR * unit * scale)
            off = error(tensor.double(), exact[name])
            if not off <= allowed:
                return f"{how}: {name} is off by {off:.3g}; {allowed:.3g} is allowed"
    return None


def states_cross_autocast(part: Part, site: Site = SITE) -> None:
    """A state made under autocast goes on outside of it and the other way round, with outputs as near to exact ones."""
    x = tokens(_ROWS, width=site.width)
    exact = outputs_and_gradients(build(part, causal=True, site=site), x)
    dtype = torch.bfloat16
    *_, most = _lost_by_rounding(part, True, site, x, dtype, exact)
    lost = most["output"]
    allowed = FACTOR * (lost + FLOOR * torch.finfo(dtype).eps * size(exact["output"]))
    module = build(part, causal=True, site=site, dtype=torch.float32)
    for first in (True, False):
        ys, state = [], None
        with torch.no_grad(), gpu_autocast():
            for i, piece in enumerate(x.float().split([LENGTH - 3, 1, 2], 1)):
                with torch.autocast("cpu", dtype, enabled=first is (i == 0)):
                    y, state = module(piece, state)
                ys.append(y.double())
        off = error(torch.cat(ys, 1), exact["output"])
        where = "made under autocast" if first else "continued under autocast"
        assert off <= allowed, f"{part}, its state {where}: output is off by {off:.3g}; {allowed:.3g} is allowed"


def _ways(dtype: torch.dtype, device: str) -> list[tuple[_Rules, torch.dtype]]:
    """Return every set of autocast's rules with the dtypes of tokens: what is before a part gives one or the other."""
    rules: list[_Rules] = [nullcontext, gpu_autocast] if torch.device(device).type == "cpu" else [nullcontext]
    return [(rule, given) for rule in rules for given in (torch.float32, dtype)]


def _lost_by_rounding(
    part: Part, causal: bool, site: Site, x: Tensor, dtype: torch.dtype, exact: dict[str, Tensor]
) -> Iterator[dict[str, float]]:
    """Yield how far each result moves, at most, when inputs and weights move by one rounding, computed in float64.

    Each time by one rounding more: the part may be near for some, and every one costs a pass.
    """
    draw = torch.Generator().manual_seed(0)

    def nudged(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64).to(tensor.device)
        return tensor * (1 + torch.finfo(dtype).eps * noise)

    worst = dict.fromkeys(exact, 0.0)
    for _ in range(_NUDGES):
        module = build(part, causal=causal, site=site).to(x.device)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(nudged(parameter))
        moved = outputs_and_gradients(module, nudged(x))
        worst = {name: max(worst[name], error(moved[name], exact[name])) for name in worst}
        yield worst
