"""The types that ops take and give."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

Bias: TypeAlias = Tensor | Callable[[int, int], Tensor] | None
"""What is added to attention scores: a tensor that broadcasts to (B, H, L, S); or a function `bias(start, stop)` that
makes the rows `start … stop − 1` of one, (B or 1, H or 1, stop − start, S), so that the whole never exists at once."""


class LinearState(NamedTuple):
    """What linear attention remembers, the same size whatever the length; float32 or wider.

    Attributes:
        s_bhmv: Σ_j k_j v_jᵀ, (B, H, M, V).
        z_bhm: Σ_j k_j, (B, H, M); None where nothing is normalised (`normalize=False`).
    """

    s_bhmv: Tensor
    z_bhm: Tensor | None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(t.numel() * t.element_size() for t in self if t is not None)


class PoolState(NamedTuple):
    """What causal pooling remembers: the last `window − 1` real tokens of each row.

    Attributes:
        tokens_bwd: the tokens, the latest last, zeros in front where there are fewer, (B, window − 1, D).
        count_b: how many of them are real, (B,), int64.
    """

    tokens_bwd: Tensor
    count_b: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(t.numel() * t.element_size() for t in self)
