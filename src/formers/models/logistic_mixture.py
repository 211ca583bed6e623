"""Mixtures of logistic distributions over the grey values of a pixel, which know that 127 lies beside 128."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from formers.ops import require_data

LOG_SCALES = (-7.0, 7.0)
"""Least and largest log-scale: narrower than a hundredth of a grey value of 256, and flat over all of them."""


class LogisticMixture(NamedTuple):
    """P(x) = Σ_m π_m [σ((x⁺ − μ_m)/s_m) − σ((x⁻ − μ_m)/s_m)] for x in 0 … levels − 1.

    x^± = 2x/(levels − 1) − 1 ± 1/(levels − 1) are the ends of the value's interval, where those of the first and the
    last value reach to −∞ and ∞: P sums to 1. The difference of the two sigmoids is taken as
    log σ(a) + log σ(−b) + log(1 − e^{b − a}), which is exact and loses no digits however far x lies from μ.
    Source: Salimans et al. 2017 (PixelCNN++), arXiv:1701.05517, section 2.1.

    Attributes:
        log_weight: log π, (…, M).
        mean: μ, (…, M), in units of half the range of values.
        log_scale: log s, (…, M), within `LOG_SCALES`.
        levels: the number of values.
    """

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor
    levels: int

    @classmethod
    def of(cls, parameters: Tensor, levels: int) -> Self:
        """Return the mixture that (…, 3·M) numbers mean: logits of π, then μ, then log s, in float32 or wider."""
        wide = parameters.float() if parameters.dtype in (torch.float16, torch.bfloat16) else parameters
        logits, mean, log_scale = wide.chunk(3, -1)
        return cls(logits.log_softmax(-1), mean, log_scale.clamp(*LOG_SCALES), levels)

    def log_prob(self, values: Tensor) -> Tensor:
        """Return log P in nats of integers, (…). Raise ValueError, on the CPU, for values that do not exist."""
        if values.device.type == "cpu":  # elsewhere, looking would wait for the device in every step
            require_data(
                (values >= 0) & (values < self.levels),
                ValueError(f"values go from 0 to {self.levels - 1}, but others were given"),
            )
        return self._log_prob(values.unsqueeze(-1)).logsumexp(-1)

    def log_probs(self) -> Tensor:
        """Return log P of every value, (…, levels)."""
        every = torch.arange(self.levels, device=self.mean.device).unsqueeze(-1)
        weight, mean, scale = (t.unsqueeze(-2) for t in (self.log_weight, self.mean, self.log_scale))
        return LogisticMixture(weight, mean, scale, self.levels)._log_prob(every).logsumexp(-1)

    def _log_prob(self, values: Tensor) -> Tensor:
        """Return log π_m + log P_m of values that broadcast with the components, (…, M)."""
        half, sharpness = 1 / (self.levels - 1), (-self.log_scale).exp()
        centre = values.to(self.mean.dtype) * (2 * half) - 1
        below_top = F.logsigmoid((centre + half - self.mean) * sharpness)
        above_bottom = F.logsigmoid((self.mean - centre + half) * sharpness)
        inside = below_top + above_bottom + (-torch.expm1(-2 * half * sharpness)).log()
        shares = torch.where(values == 0, below_top, torch.where(values == self.levels - 1, above_bottom, inside))
        return self.log_weight + shares
