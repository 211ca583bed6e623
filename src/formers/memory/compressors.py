"""Compressors: one token in the place of each `rate` tokens that leave a memory."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

CompressorName: TypeAlias = Literal["max_pool", "mean_pool", "conv", "dilated_conv", "most_used"]
"""Names of compressors."""
LEARNED = frozenset({"conv", "dilated_conv"})
"""Those that have weights."""


class Compressor(nn.Module):
    """Compresses windows of tokens, (B, N, W, D) → (B, N, D): a window begins with every `rate`-th token.

    Attributes:
        rate: c, the tokens that each compressed one stands for.
        window: W, the tokens that it is made of: `rate`, or more, of which the rest follows them.
    """

    def __init__(self, rate: int, window: int | None = None):
        super().__init__()
        self.rate, self.window = rate, rate if window is None else window

    def forward(self, x_bnwd: Tensor, used_bnw: Tensor | None) -> Tensor:
        """Return the compressed tokens; `used_bnw` is the attention that each token has had, where it is counted."""
        raise NotImplementedError


class MaxCompressor(Compressor):
    """The largest value of each feature."""

    def forward(self, x_bnwd: Tensor, used_bnw: Tensor | None) -> Tensor:
        return x_bnwd.amax(2)


class MeanCompressor(Compressor):
    """The mean of each feature."""

    def forward(self, x_bnwd: Tensor, used_bnw: Tensor | None) -> Tensor:
        return x_bnwd.mean(2)


class ConvCompressor(Compressor):
    """Σ_k W_k x_{k·dilation} + b: a convolution of `rate` taps and as large a stride. In a model it starts as the mean.

    With a dilation above 1, taps reach beyond the tokens that it stands for, into those that follow.
    """

    def __init__(self, rate: int, width: int, dilation: int):
        super().__init__(rate, window=dilation * (rate - 1) + 1 if dilation > 1 else rate)
        self.dilation = dilation
        self.taps_proj = nn.Linear(rate * width, width)

    def forward(self, x_bnwd: Tensor, used_bnw: Tensor | None) -> Tensor:
        return self.taps_proj(x_bnwd[:, :, :: self.dilation].flatten(2))

    @torch.no_grad()
    def init_weights(self, std: float) -> None:
        """Start as the mean of the taps, which is a fair compressed token before anything is learned."""
        width = self.taps_proj.out_features
        eye = torch.eye(width, dtype=self.taps_proj.weight.dtype, device=self.taps_proj.weight.device)
        self.taps_proj.weight.copy_(eye.repeat(1, self.rate) / self.rate)
        nn.init.zeros_(self.taps_proj.bias)


class MostUsedCompressor(Compressor):
    """The token that has had the most attention."""

    def forward(self, x_bnwd: Tensor, used_bnw: Tensor | None) -> Tensor:
        assert used_bnw is not None, "attention is counted for it"
        chosen_bn11 = used_bnw.argmax(2)[:, :, None, None]
        return x_bnwd.gather(2, chosen_bn11.expand(-1, -1, -1, x_bnwd.shape[3])).squeeze(2)


def make_compressor(name: CompressorName, rate: int, width: int) -> Compressor:
    """Return a new compressor for tokens of a width."""
    if name in LEARNED:
        return ConvCompressor(rate, width, dilation=2 if name == "dilated_conv" else 1)
    kinds = {"max_pool": MaxCompressor, "mean_pool": MeanCompressor, "most_used": MostUsedCompressor}
    return kinds[name](rate)


def window_of(name: CompressorName, rate: int) -> int:
    """Return how many tokens a compressed one is made of."""
    return 2 * rate - 1 if name == "dilated_conv" else rate
