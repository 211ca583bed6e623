"""The feed-forward axis: what each token does on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from formers.part import Part
from formers.site import Site

Activation = Literal["gelu", "gelu_tanh", "relu", "squared_relu", "silu", "sigmoid", "tanh", "identity"]

ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "squared_relu": lambda x: F.relu(x).square(),
    "silu": F.silu,
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "identity": lambda x: x,
}


IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": torch.ops.aten.gelu_,
    "relu": F.relu_,
    "silu": lambda x: F.silu(x, inplace=True),
}
"""Activations that can overwrite their input: a hidden layer is large, and fresh memory for it costs more than the activation."""


def activate(name: str, x: Tensor, source: nn.Linear) -> Tensor:
    """The named activation of what `source` has just made. It overwrites x where nobody could notice: no gradient needs it
    (relu's is made from the result) and no hook watches `source`.
    """
    unseen = not source._forward_hooks and (name == "relu" or not torch.is_grad_enabled())
    return IN_PLACE[name](x) if unseen and name in IN_PLACE else ACTIVATIONS[name](x)


class Ffn(Part):
    """What each token does on its own between two mixings: (…, D) → (…, D)."""

    def build(self, site: Site) -> nn.Module:
        raise NotImplementedError


class Mlp(Ffn):
    """down(act(up(x))), D → expand·D → D. Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3."""

    expand: float = 4.0
    "Hidden width over model width."
    activation: Activation = "gelu"
    "The non-linearity."
    bias: bool = True
    "Whether both projections have one."

    def build(self, site: Site) -> nn.Module:
        return MlpModule(site.width, hidden_width(self, site), self.activation, self.bias)


class Glu(Ffn):
    """down(act(gate(x)) ⊙ up(x)): SwiGLU with silu, the original GLU with sigmoid. Source: Shazeer 2020, arXiv:2002.05202."""

    expand: float = 8 / 3
    "Hidden width over model width; 8/3 has the parameters of an MLP with 4."
    activation: Activation = "silu"
    "The gate's non-linearity."
    bias: bool = False
    "Whether the projections have one."

    def build(self, site: Site) -> nn.Module:
        return GluModule(site.width, hidden_width(self, site), self.activation, self.bias)


def hidden_width(part: Mlp | Glu, site: Site) -> int:
    if part.expand <= 0:
        raise ValueError(f"{part}: expand must be positive")
    return max(1, round(part.expand * site.width))


class MlpModule(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str, bias: bool):
        super().__init__()
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(activate(self.activation, self.up_proj(x), self.up_proj))


class GluModule(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str, bias: bool):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=bias)
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(activate(self.activation, self.gate_proj(x), self.gate_proj) * self.up_proj(x))
