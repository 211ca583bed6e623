"""Law 16: derivatives of any order are right or refused.

The gradient of a gradient is never a wrong number: it is what finite differences of the gradient say, or asking raises.

Inputs: second derivatives along one random direction, of the input alone and of input and parameters together, in
evaluation and in training mode, in float64.

Exempt: what a memory holds as it was made, without a gradient, and the gradient's differences feel: of such a part the
first tokens are tried, which find nothing in it.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from formers.part import Part, Site
from formers.testing.harness import LENGTH, SITE, abilities, build, directions, seed_cpu, tokens

_STEP = torch.finfo(torch.float64).eps ** (1 / 3)
"""The step at which a central difference is best: its own error and that of rounding are alike."""
_STEPS = (_STEP, _STEP / 64)
"""One is enough to agree: gradients with jumps, of ReLU features or of buckets, may jump inside the longer one."""
_ALLOWED = 1e5 * _STEP**2
"""Error of a central difference, relative to the largest gradient: of the order of the step's square, times third
derivatives."""
_ROUNDING = 64 * torch.finfo(torch.float64).eps
"""Rounding of a gradient that sums over tokens, relative to the largest gradient of any tensor: a gradient that is zero
by the formula, as that of a bias of keys under a softmax, is this noise, which a difference divides by the step."""

_FIRST = 4
"""Tokens that have nothing to look up in a memory yet."""


def second_derivatives_are_right_or_refused(part: Part, site: Site = SITE) -> None:
    """A gradient of a gradient is what finite differences of the gradient say, or asking for it raises."""
    x = tokens(length=_FIRST if "stopped_gradients" in abilities(part) else LENGTH, width=site.width)
    for causal in directions(part):
        for training in (False, True):
            module = build(part, causal=causal, site=site).train(training)
            parameters = {name: p.detach() for name, p in module.named_parameters()}
            how = f"{part} in {'train' if training else 'eval'} mode"
            for names in (
                [],
                list(parameters),
            ):  # with few tensors asked for, autograd leaves out what only others need
                _right_or_refused(module, {"the input": x} | {name: parameters[name] for name in names}, how)


def _right_or_refused(module: nn.Module, inputs: dict[str, Tensor], what: str) -> None:
    draw = torch.Generator().manual_seed(0)
    along = [torch.randn(t.shape, generator=draw, dtype=t.dtype) for t in inputs.values()]
    values = [t.clone().requires_grad_() for t in inputs.values()]
    first = _gradients(module, list(inputs), values, keep=True)
    try:
        slope = torch.stack([(g * a).sum() for g, a in zip(first, along, strict=True)]).sum()
        found = torch.autograd.grad(slope, values, allow_unused=True)
    except RuntimeError:
        return
    got = [torch.zeros_like(t) if value is None else value for t, value in zip(values, found, strict=True)]
    for step in _STEPS:
        noise = _ROUNDING / step * max(float(g.detach().abs().max()) for g in first)
        wrong = _wrong(got, first, _differences(module, inputs, along, step), list(inputs), noise)
        if wrong is None:
            return
    raise AssertionError(f"{what}: the second derivative for {wrong}")


def _differences(module: nn.Module, inputs: dict[str, Tensor], along: list[Tensor], step: float) -> list[Tensor]:
    """Return central differences of the gradients along a direction, which is H along: the Hessian is symmetric."""
    ahead, behind = (
        _gradients(
            module, list(inputs), [(t + s * a).requires_grad_() for t, a in zip(inputs.values(), along, strict=True)]
        )
        for s in (step, -step)
    )
    return [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]


def _wrong(got: list[Tensor], first: list[Tensor], wanted: list[Tensor], names: list[str], noise: float) -> str | None:
    """Return which second derivative is off, and by how much; None if all are right."""
    for name, value, want, g in zip(names, got, wanted, first, strict=True):
        allowed = _ALLOWED * max(float(g.detach().abs().max()), float(want.abs().max())) + noise
        off = float((value - want).abs().max())
        if not off <= allowed:
            return f"{name} is off by {off:.3g}; {allowed:.3g} is allowed"
    return None


def _gradients(module: nn.Module, names: list[str], values: list[Tensor], keep: bool = False) -> list[Tensor]:
    """Return the gradients of one random weighting of the outputs; with `keep`, as functions of the inputs."""
    x, *others = values
    with torch.random.fork_rng(devices=[]):
        seed_cpu(1)
        module = deepcopy(module)  # in training a backward pass may change it
        y, _ = functional_call(module, dict(zip(names[1:], others, strict=True)), (x,))
    weighting = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return list(torch.autograd.grad((y * weighting).sum(), values, create_graph=keep, materialize_grads=True))
