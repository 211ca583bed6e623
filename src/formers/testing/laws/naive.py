"""Law 1: a part is the same as the paper's formula.

The fast form of an op and its naive one, written from the formula, give the same output and the same gradients for the
input, every parameter and every buffer.

Inputs: float32 and float64, without and with padding, causal and bidirectional; embeddings of size 1/√D before a
position that acts on them, as models have them. The tolerance is derived: twice the error that the naive form itself
makes in float32 against float64, which is at least the root of how many terms a gradient sums. An error is a random
number, and where a few roundings make all of it, as where one denominator is near zero or a sum cancels, one draw says
little of its size: a form that is over the bound is judged by the root mean square of both errors in sixteen draws.

Exempt: nothing. Ops are compared with naive forms here; the whole part is compared by law 18.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from formers.part import Part, Site
from formers.positions import Position
from formers.testing.harness import BATCH, LENGTH, SITE, abilities, build, directions, padding_mask, tokens
from formers.testing.naive_ops import Import, imports_of_ops, naive_ops
from formers.testing.tolerance import (
    FACTOR,
    FLOOR,
    convert,
    error,
    evaluate,
    judged_by_draws,
    root_mean_square,
    scales_of,
    size,
)

_NAIVE = "the naive form"
_ON_PAIRS = ("score_position.", "share_h", "span_proj", "q_proj.bias", "k_proj.bias", "q_norm.", "k_norm.")
"""Parts of the names of parameters that act on the scores of pairs, or alike on all queries or keys: those of
positions, spans of attention, biases and gains."""


def same_as_naive(part: Part, site: Site = SITE) -> None:
    """Output and all gradients equal those of the naive forms of the ops, within twice what these lose in float32."""
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        imports = imports_of_ops()  # once the part is built, and so loaded
        for mask_bl in (None, padding_mask()) if "padding" in abilities(part) else (None,):
            how = f"{part}, {'causal' if causal else 'bidirectional'}{'' if mask_bl is None else ', padded'}"
            try:
                _compare(module.float(), _inputs(part, site), mask_bl, imports)
            except AssertionError as error:
                raise AssertionError(f"{how}: {error}") from None


def _inputs(part: Part, site: Site) -> Tensor:
    """Return tokens, of size 1/√D where the part is a position that may multiply embeddings by √D."""
    embedded = isinstance(part, Position) and part.acts_on == "input"
    return tokens(width=site.width) * (site.width**-0.5 if embedded else 1.0)


def _least_lost(name: str) -> float:
    """Return how many roundings the sum in a gradient loses: the root of its terms.

    There is one a token, and one a pair of tokens for what is learned on scores or weights, or added to all queries or
    keys: Σ_ij ∂s_ij k_j, in which the ∂s_ij of a row cancel where scores are normalised. What a fast form has summed
    once, over queries, is in error alike for all keys.
    """
    pairs = LENGTH if any(part in name for part in _ON_PAIRS) else 1
    return math.sqrt(BATCH * LENGTH * pairs)


def _compare(module: nn.Module, x: Tensor, mask_bl: Tensor | None, imports: Sequence[Import]) -> None:
    """The module against itself on naive forms; its parameters and floating-point buffers are inputs like the tokens.

    A few numbers may be exact by luck: at least what the sum in a gradient loses is allowed.
    """
    names = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
    values = [value.detach() for value in [*module.parameters(), *module.buffers()]]
    real_bl = mask_bl if mask_bl is not None else torch.ones(x.shape[:2], dtype=torch.bool)

    def fast(x: Tensor, *values: Tensor) -> Any:
        y, _ = functional_call(module, dict(zip(names, values, strict=True)), (x,), {"mask_bl": mask_bl})
        return y[real_bl]

    def naive(x: Tensor, *values: Tensor) -> Any:
        with naive_ops(imports):
            return fast(x, *values)

    labels, inputs = ["the input", *names], convert([x, *values], torch.float32)
    wrong = judged_by_draws(inputs, lambda inputs: _errors(fast, naive, inputs, labels), _over_bounds)
    assert not wrong, "; ".join(wrong)


_Errors = Mapping[str, Mapping[str, float]]
"""Form and dtype → output or gradient → error, in units of rounding of what the naive form gives in float64."""


def _errors(
    fast: Callable[..., Any], naive: Callable[..., Any], inputs: Sequence[Any], labels: Sequence[str]
) -> _Errors:
    """Return the errors of both forms."""
    exact = evaluate(naive, inputs, torch.float64, labels, True)
    scales = {name: scale or 1.0 for name, scale in scales_of(exact).items()}
    found: dict[str, dict[str, float]] = {}
    for form, function, dtype in (
        (_NAIVE, naive, torch.float32),
        ("torch.float32", fast, torch.float32),
        ("torch.float64", fast, torch.float64),
    ):
        values = evaluate(function, inputs, dtype, labels, True)
        unit = torch.finfo(dtype).eps
        found[form] = {name: error(value, exact[name]) / scales[name] / unit for name, value in values.items()}
    found[_NAIVE] = {name: one for name, one in found[_NAIVE].items() if size(exact[name]) == scales[name]}
    return found


def _over_bounds(draws: Sequence[_Errors]) -> dict[str, float]:
    """Return what the fast form has lost more of than it may, by the root mean square over draws → how many times.

    What the naive form loses is one number, the worst of its outputs and gradients, because a tensor of a few numbers
    may be exact by luck.
    """
    lost = max(
        root_mean_square([draw[_NAIVE][name] for draw in draws if name in draw[_NAIVE]]) for name in draws[0][_NAIVE]
    )
    wrong: dict[str, float] = {}
    for form in (form for form in draws[0] if form != _NAIVE):
        for name in draws[0][form]:
            off = root_mean_square([draw[form][name] for draw in draws])
            bound = FACTOR * max(lost, _least_lost(name)) + FLOOR
            if not off <= bound:
                wrong[f"{name} is off by {off:.3g} roundings in {form}; {bound:.3g} are allowed"] = off / bound
    return wrong
