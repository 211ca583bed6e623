"""Tolerances that are derived, not tuned: a fast form may be off by twice what the naive form is off by itself.

Both are run in the working dtype and compared with the naive form in float64, outputs and gradients alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

FACTOR = 2.0
"""How many times the error of the naive form the fast form may have."""
FLOOR = 4.0
"""Where the naive form happens to be exact, so many units of rounding, relative to the size of the whole, are
allowed."""


def assert_close_derived(
    fast: Callable[..., Any],
    naive: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    dtype: torch.dtype = torch.float32,
    names: Sequence[str] = (),
    gradients: bool = True,
) -> None:
    """Assert that `fast(*inputs)` equals `naive(*inputs)`, and every gradient, up to a derived tolerance.

    Args:
        fast, naive: the same function twice, returning a tensor or a nest of tuples of tensors and Nones. Close over
            options; pass every floating-point tensor through `inputs`, so that it gets the right dtype.
        inputs: floating-point tensors, which are converted and differentiated, and anything else, passed as it is.
        dtype: the working dtype.
        names: of the inputs, for messages.
        gradients: compare gradients too, for one random direction in the outputs.

    Raise AssertionError, naming the tensor, its error and what was allowed.
    """
    allowed = _tolerances(naive, inputs, dtype, names, gradients)
    rounded = convert(inputs, dtype)  # the same for both, so that only the computation differs
    exact = evaluate(naive, rounded, torch.float64, names, gradients)
    found = evaluate(fast, rounded, dtype, names, gradients)
    assert found.keys() == exact.keys(), f"fast gives {sorted(found)}, naive gives {sorted(exact)}"
    for name, value in found.items():
        assert value.shape == exact[name].shape, f"{name}: {tuple(value.shape)}, naive {tuple(exact[name].shape)}"
        off = error(value, exact[name])
        assert off <= allowed[name], f"{name} is off by {off:.3g} in {dtype}; the naive form allows {allowed[name]:.3g}"


def _tolerances(
    naive: Callable[..., Any], inputs: Sequence[Any], dtype: torch.dtype, names: Sequence[str], gradients: bool
) -> dict[str, float]:
    """Return how far each output and gradient may be off. For float64, which nothing finer can judge, from float32 by
    scale."""
    judged = torch.float32 if dtype == torch.float64 else dtype
    rounded = convert(inputs, judged)
    exact = evaluate(naive, rounded, torch.float64, names, gradients)
    units = torch.finfo(dtype).eps / torch.finfo(judged).eps
    return {
        name: FACTOR * units * error(value, exact[name]) + FLOOR * torch.finfo(dtype).eps * size(exact[name])
        for name, value in evaluate(naive, rounded, judged, names, gradients).items()
    }


def convert(inputs: Sequence[Any], dtype: torch.dtype) -> list[Any]:
    """Return the inputs, floating-point tensors among them in the dtype and without a graph."""
    return [t.detach().to(dtype) if _is_float(t) else t for t in inputs]


def evaluate(
    function: Callable[..., Any], inputs: Sequence[Any], dtype: torch.dtype, names: Sequence[str], gradients: bool
) -> dict[str, Tensor]:
    """Return outputs by their place and gradients by the name of their input, all in float64."""
    given = [t.to(dtype).requires_grad_(gradients) if _is_float(t) else t for t in inputs]
    outputs = dict(_leaves(function(*given), "output"))
    results = {name: value.detach().double() for name, value in outputs.items()}
    smooth = [value for value in outputs.values() if value.requires_grad]
    if not gradients or not smooth:
        return results
    draw = torch.Generator().manual_seed(0)
    directions = [torch.randn(v.shape, generator=draw, dtype=torch.float64).to(v.device, v.dtype) for v in smooth]
    wanted = {
        names[i] if i < len(names) else f"input {i}": t
        for i, t in enumerate(given)
        if isinstance(t, Tensor) and t.requires_grad
    }
    found = torch.autograd.grad(smooth, list(wanted.values()), directions, allow_unused=True)
    for (name, value), gradient in zip(wanted.items(), found, strict=True):
        results[f"gradient of {name}"] = (torch.zeros_like(value) if gradient is None else gradient).detach().double()
    return results


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _leaves(value: Any, name: str) -> list[tuple[str, Tensor]]:
    """Return the tensors in a nest of tuples, named by their place."""
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, tuple):
        return [leaf for i, item in enumerate(value) for leaf in _leaves(item, f"{name}[{i}]")]
    return []


def error(value: Tensor, exact: Tensor) -> float:
    """Return the root mean square of the difference, which one wrong entry moves far; infinite where one is not a
    number."""
    return size((value - exact).nan_to_num(nan=float("inf")))


def size(value: Tensor) -> float:
    """Return the root mean square."""
    return float(value.square().mean().sqrt()) if value.numel() else 0.0
