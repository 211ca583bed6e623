"""Halting by Graves' rule: a token stops when its halting probabilities sum up to nearly 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class HaltingProgress:
    """How far the tokens of a batch have come, in float32 or wider.

    Attributes:
        active_bl: which tokens go on.
        steps_bl: N, the steps that each has taken.
        sum_bl: Σ p over its steps so far.
        remainder_bl: R = 1 − Σ p over all its steps but the last, once it has halted; 0 before.
        mean_bld: the mean of its states so far, Σ w s: w = p, and R at the last step.
    """

    active_bl: Tensor
    steps_bl: Tensor
    sum_bl: Tensor
    remainder_bl: Tensor
    mean_bld: Tensor

    @classmethod
    def start(cls, x_bld: Tensor, real_bl: Tensor | None) -> Self:
        """Return the progress before the first step; padding takes none."""
        zero_bl = torch.zeros(
            x_bld.shape[:2], dtype=torch.promote_types(x_bld.dtype, torch.float32), device=x_bld.device
        )
        active_bl = torch.ones_like(zero_bl, dtype=torch.bool) if real_bl is None else real_bl
        mean_bld = torch.zeros_like(x_bld, dtype=zero_bl.dtype)
        return cls(active_bl, torch.zeros_like(zero_bl, dtype=torch.long), zero_bl, zero_bl, mean_bld)

    def after(self, state_bld: Tensor, p_bl: Tensor, *, threshold: float, is_last: bool) -> Self:
        """Return the progress after a step with these states and halting probabilities; after the last, all halt."""
        active_bl, p_bl = self.active_bl, p_bl.to(self.sum_bl.dtype)
        sum_bl = torch.where(active_bl, self.sum_bl + p_bl, self.sum_bl)
        halts_bl = active_bl if is_last else active_bl & (sum_bl >= threshold)
        rest_bl = 1 - self.sum_bl
        weight_bl = torch.where(active_bl, torch.where(halts_bl, rest_bl, p_bl), 0)
        return type(self)(
            active_bl & ~halts_bl,
            self.steps_bl + active_bl,
            sum_bl,
            torch.where(halts_bl, rest_bl, self.remainder_bl),
            self.mean_bld + weight_bl.unsqueeze(-1) * state_bld,
        )

    def cost(self, real_bl: Tensor | None) -> Tensor:
        """Return N + R averaged over the real tokens; its gradient is that of R, as N is counted."""
        cost_bl = self.steps_bl + self.remainder_bl  # padding has taken no step
        return cost_bl.mean() if real_bl is None else cost_bl.sum() / real_bl.sum().clamp(min=1)
