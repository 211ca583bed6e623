"""The feed-forward axis: what each token does on its own."""

from __future__ import annotations

from typing import Literal

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
        return self.down_proj(ACTIVATIONS[self.activation](self.up_proj(x)))


class GluModule(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str, bias: bool):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=bias)
        self.up_proj = nn.Linear(width, hidden, bias=bias)
        self.down_proj = nn.Linear(hidden, width, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(ACTIVATIONS[self.activation](self.gate_proj(x)) * self.up_proj(x))
