"""Law 1: a part is the same as the paper's formula.

The fast form of an op and its naive one, written from the formula, give the same output and the same gradients for the
input, every parameter and every buffer.

Inputs: float32 and float64, without and with padding, causal and bidirectional; embeddings of size 1/√D before a
position that acts on them, as models have them. The tolerance is derived: twice the error that the naive form itself
makes in float32 against float64, which is at least the root of how many terms a gradient sums.

Exempt: nothing. Ops are compared with naive forms here; the whole part is compared by law 18.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from formers.part import Part, Site
from formers.positions import Position
from formers.testing.harness import BATCH, LENGTH, SITE, abilities, build, directions, padding_mask, tokens
from formers.testing.naive_ops import naive_ops
from formers.testing.tolerance import FACTOR, FLOOR, convert, error, evaluate, size

_VANISHING = 1e-12
"""A gradient this much smaller than the largest is zero in exact arithmetic, as that of a bias on the keys of a
softmax: all of it is rounding, which is judged by what it is the rounding of."""
_ON_SCORES = ("score_position.", "share_h", "span_proj")
"""Parts of the names of parameters that act on the scores of pairs: those of positions, and spans of attention."""


def same_as_naive(part: Part, site: Site = SITE) -> None:
    """Output and all gradients equal those of the naive forms of the ops, within twice what these lose in float32."""
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        for mask_bl in (None, padding_mask()) if "padding" in abilities(part) else (None,):
            how = f"{part}, {'causal' if causal else 'bidirectional'}{'' if mask_bl is None else ', padded'}"
            try:
                _compare(module.float(), _inputs(part, site), mask_bl)
            except AssertionError as error:
                raise AssertionError(f"{how}: {error}") from None


def _inputs(part: Part, site: Site) -> Tensor:
    """Return tokens, of size 1/√D where the part is a position that may multiply embeddings by √D."""
    embedded = isinstance(part, Position) and part.acts_on == "input"
    return tokens(width=site.width) * (site.width**-0.5 if embedded else 1.0)


def _least_lost(name: str) -> float:
    """Return how many roundings the sum in a gradient loses: the root of its terms.

    There is one a token, and one a pair of tokens for what is learned on scores or weights.
    """
    pairs = LENGTH if any(part in name for part in _ON_SCORES) else 1
    return math.sqrt(BATCH * LENGTH * pairs)


def _compare(module: nn.Module, x: Tensor, mask_bl: Tensor | None) -> None:
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
        with naive_ops():
            return fast(x, *values)

    labels, inputs = ["the input", *names], convert([x, *values], torch.float32)
    exact = evaluate(naive, inputs, torch.float64, labels, True)
    rough = evaluate(naive, inputs, torch.float32, labels, True)
    lost = _roundings_lost(rough, exact)
    largest = max(size(value) for value in exact.values())
    for dtype in (torch.float32, torch.float64):
        for name, value in evaluate(fast, inputs, dtype, labels, True).items():
            off, scale = error(value, exact[name]), size(exact[name])
            scale = scale if scale > _VANISHING * largest else largest
            bound = (FACTOR * max(lost, _least_lost(name)) + FLOOR) * torch.finfo(dtype).eps * scale
            assert off <= bound, f"{name} is off by {off:.3g} in {dtype}; {bound:.3g} is allowed"


def _roundings_lost(rough: dict[str, Tensor], exact: dict[str, Tensor]) -> float:
    """Return the error of the naive form in float32, in units of rounding: the worst of its outputs and gradients.

    One number for all, because a tensor of a few numbers may be exact by luck.
    """
    least = _VANISHING * max(size(value) for value in exact.values())
    return max(
        error(rough[n], v) / size(v) / torch.finfo(torch.float32).eps for n, v in exact.items() if size(v) > least
    )
