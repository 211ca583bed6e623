"""The bias of attention scores: a tensor, or a function that makes some rows of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from formers.ops.attention.relation import Relation

AddedBias: TypeAlias = Tensor | Callable[[int, int], Tensor] | None
"""Added to attention scores: a tensor that broadcasts to (B, H, L, S); or a function `bias(start, stop)` that makes
the rows `start … stop − 1` of one, (B or 1, H or 1, stop − start, S), so that the whole never exists at once."""
Bias: TypeAlias = AddedBias | Relation
"""What is added to attention scores, or a relation, which may change scores and outputs in any way."""


def check_bias(bias: Bias, shape: tuple[int, int, int, int]) -> None:
    """Raise ValueError unless a bias tensor is floating point and broadcasts to the shape of the scores."""
    if not isinstance(bias, Tensor):
        return
    if not bias.is_floating_point():
        raise ValueError(f"bias has dtype {bias.dtype}; expected floating point, with -inf where a pair is hidden")
    padded = (1,) * (4 - bias.dim()) + tuple(bias.shape)
    if len(padded) != 4 or any(n not in (1, m) for n, m in zip(padded, shape, strict=True)):
        raise ValueError(f"bias has shape {tuple(bias.shape)}; expected one that broadcasts to (B, H, L, S) = {shape}")


def without_first_rows(bias: AddedBias, count: int) -> AddedBias:
    """Return the bias of the query rows from `count` on."""
    if callable(bias):
        return lambda start, stop: bias(count + start, count + stop)
    return bias if bias is None or same_for_all_rows(bias) else bias[..., count:, :]


def same_for_all_rows(bias: Tensor) -> bool:
    """Return True if every query row has the same bias."""
    return bias.dim() < 2 or bias.shape[-2] == 1
