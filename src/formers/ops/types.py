"""The types that ops take and give."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


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
