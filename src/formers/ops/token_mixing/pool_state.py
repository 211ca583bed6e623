"""What causal pooling carries from call to call."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class PoolState(NamedTuple):
    """The last `window − 1` real tokens of each sequence.

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
