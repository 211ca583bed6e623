"""Gates in the place of a residual sum: g(x, y), made of the stream x and the output y of a sub-layer, (…, D) each.

They are GTrXL's. The forms were compared with public implementations: `GruGate` with DI-engine's `GRUGatingUnit` and
RLlib's `GRUGate`, whose bias is learned and subtracted, too; it, `HighwayGate` and `SigTanhGate` with Scenic's
`Residual`, which writes 1 − c for the carry c and keeps the bias in a projection; and all five with one in PyTorch that
states the paper's equations. They agree, up to where the bias is kept and what it starts as.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """g(x, y) with a bias b, (D), all of whose values start as the same number; a large one makes it return x."""

    def __init__(self, width: int, bias: float):
        super().__init__()
        self.first_bias = bias
        self.bias = nn.Parameter(torch.full((width,), bias))

    def init_weights(self, std: float) -> None:
        """Set the bias to the number it starts as; projections start as every other."""
        nn.init.constant_(self.bias, self.first_bias)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError


class GruGate(Gate):
    """(1 − z) ⊙ x + z ⊙ ĥ: r = σ(W_r y + U_r x), z = σ(W_z y + U_z x − b), ĥ = tanh(W_h y + U_h (r ⊙ x)).

    `y_proj` is W_r, W_z and W_h, `x_proj` U_r and U_z, and `reset_proj` U_h.
    """

    def __init__(self, width: int, bias: float):
        super().__init__(width, bias)
        self.y_proj = nn.Linear(width, 3 * width, bias=False)
        self.x_proj = nn.Linear(width, 2 * width, bias=False)
        self.reset_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        y_reset, y_update, y_new = self.y_proj(y).chunk(3, -1)
        x_reset, x_update = self.x_proj(x).chunk(2, -1)
        reset = torch.sigmoid(y_reset + x_reset)
        update = torch.sigmoid(y_update + x_update - self.bias)
        new = torch.tanh(y_new + self.reset_proj(reset * x))
        return x + update * (new - x)


class InputGate(nn.Module):
    """σ(W x) ⊙ x + y; without a bias."""

    def __init__(self, width: int):
        super().__init__()
        self.gate_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(self.gate_proj(x)) * x + y


class OutputGate(Gate):
    """x + σ(W x − b) ⊙ y."""

    def __init__(self, width: int, bias: float):
        super().__init__(width, bias)
        self.gate_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + torch.sigmoid(self.gate_proj(x) - self.bias) * y


class HighwayGate(Gate):
    """c ⊙ x + (1 − c) ⊙ y: c = σ(W x + b)."""

    def __init__(self, width: int, bias: float):
        super().__init__(width, bias)
        self.gate_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return y + torch.sigmoid(self.gate_proj(x) + self.bias) * (x - y)


class SigTanhGate(Gate):
    """x + σ(W y − b) ⊙ tanh(U y); `gate_proj` is W, `y_proj` U."""

    def __init__(self, width: int, bias: float):
        super().__init__(width, bias)
        self.gate_proj = nn.Linear(width, width, bias=False)
        self.y_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + torch.sigmoid(self.gate_proj(y) - self.bias) * torch.tanh(self.y_proj(y))


BIASED: dict[str, type[Gate]] = {
    "gru": GruGate,
    "output": OutputGate,
    "highway": HighwayGate,
    "sigtanh": SigTanhGate,
}
"""Name → gate, of those that have a bias."""
