"""Tolerances that are derived, not tuned: a fast form may be off by twice what the naive form is off by itself.

Both are run in the working dtype and compared with the naive form in float64, outputs and gradients alike.

An error is a random number. Where a few roundings make all of it, as in a gradient of a few numbers, one draw says
little of its size: a form that is over the bound is judged by the root mean square of both errors in several draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

FACTOR = 2.0
"""How many times the error of the naive form the fast form may have."""
FLOOR = 4.0
"""Where the naive form happens to be exact, so many units of rounding, relative to the size of the whole, are
allowed."""
_VANISHING = 1e-12
"""A gradient this much smaller than the largest is zero in exact arithmetic, as that of a bias on the keys of a
softmax, or of the query of a single key: all of it is rounding, which is judged by what it is the rounding of."""
_DRAWS = 16
"""Draws that judge a form which is over the bound in one: two root mean squares of single numbers, of equal size, then
differ by a factor of 2 once in 250 times."""
_LUCK = 1000.0
"""How many times the bound a right form may be off in one draw, by bad luck; a wrong one is off by more in float64."""
_Found = TypeVar("_Found")
_Errors: TypeAlias = dict[str, tuple[float, float, float]]
"""Output or gradient → the error of the fast form, of the naive one, and what rounding it once is."""


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

    def errors(inputs: Sequence[Any]) -> _Errors:
        # rounded alike for both, so that only the computation differs
        return _errors(fast, naive, convert(inputs, dtype), dtype, names, gradients)

    wrong = judged_by_draws(inputs, errors, _over_bounds)
    assert not wrong, "; ".join(f"{what} in {dtype}" for what in wrong)


def judged_by_draws(
    inputs: Sequence[Any],
    errors: Callable[[Sequence[Any]], _Found],
    over: Callable[[Sequence[_Found]], dict[str, float]],
) -> dict[str, float]:
    """Return what is over its bound, and how many times: by the given inputs, or else by several draws close to them.

    Args:
        errors: inputs → the errors of both forms on them.
        over: such errors on one or more inputs → what is over its bound, by their root mean square.
    """
    wrong = over([errors(inputs)])
    if wrong and max(wrong.values()) < _LUCK:
        wrong = over([errors(_moved_slightly(inputs, draw)) for draw in range(_DRAWS)])
    return wrong


def _errors(
    fast: Callable[..., Any],
    naive: Callable[..., Any],
    rounded: Sequence[Any],
    dtype: torch.dtype,
    names: Sequence[str],
    gradients: bool,
) -> _Errors:
    """Return the errors of both forms.

    What float64 loses, which nothing finer can judge, follows from float32 by scale. Raise AssertionError for outputs
    of other shapes.
    """
    judged = torch.float32 if dtype == torch.float64 else dtype
    units = torch.finfo(dtype).eps / torch.finfo(judged).eps
    exact = evaluate(naive, rounded, torch.float64, names, gradients)
    found = evaluate(fast, rounded, dtype, names, gradients)
    assert found.keys() == exact.keys(), f"fast gives {sorted(found)}, naive gives {sorted(exact)}"
    for name, value in found.items():
        assert value.shape == exact[name].shape, f"{name}: {tuple(value.shape)}, naive {tuple(exact[name].shape)}"
    coarse = convert(rounded, judged)
    plain = evaluate(naive, coarse, judged, names, gradients)
    truth = exact if judged == dtype else evaluate(naive, coarse, torch.float64, names, gradients)
    scales = scales_of(exact)
    return {
        name: (
            error(value, exact[name]),
            units * error(plain[name], truth[name]),
            torch.finfo(dtype).eps * scales[name],
        )
        for name, value in found.items()
    }


def _over_bounds(draws: Sequence[_Errors]) -> dict[str, float]:
    """Return what the fast form is off by more than it may, by the root mean square over draws → how many times."""
    wrong: dict[str, float] = {}
    for name in draws[0]:
        off, lost, unit = (root_mean_square([draw[name][i] for draw in draws]) for i in range(3))
        allowed = FACTOR * lost + FLOOR * unit
        if not off <= allowed:
            wrong[f"{name} is off by {off:.3g}; {allowed:.3g} is allowed"] = off / allowed if allowed else math.inf
    return wrong


def scales_of(exact: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the size that the error of each output and gradient is relative to: its own, unless that vanishes."""
    sizes = {name: size(value) for name, value in exact.items()}
    largest = max(sizes.values(), default=0.0)
    return {name: one if one > _VANISHING * largest else largest for name, one in sizes.items()}


def _moved_slightly(inputs: Sequence[Any], draw: int) -> list[Any]:
    """Return the inputs, moved so little that nothing but their roundings is another: by 1e-4 of themselves."""
    generator = torch.Generator().manual_seed(draw)
    return [t * (1 + 1e-4 * torch.randn(t.shape, generator=generator)) if _is_float(t) else t for t in inputs]


def root_mean_square(values: Sequence[float]) -> float:
    """Return the root mean square."""
    return math.sqrt(sum(value * value for value in values) / len(values))


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
