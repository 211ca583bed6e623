"""The feed-forward axis: the transformation of each token on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from formers.part import Part, Site, check_init

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


_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": torch.ops.aten.gelu_,
    "relu": F.relu_,
    "silu": lambda x: F.silu(x, inplace=True),
}
"""Activations that overwrite their input: fresh memory for a hidden layer costs more than the activation itself."""


def _activate(name: str, x: Tensor, source: nn.Linear) -> Tensor:
    """Return the named activation of x, the output of `source`.

    It overwrites x where nobody could notice: no gradient needs it (relu's is made from the result) and no hook watches
    `source`.
    """
    unseen = not source._forward_hooks and (name == "relu" or not torch.is_grad_enabled())
    return _IN_PLACE[name](x) if unseen and name in _IN_PLACE else ACTIVATIONS[name](x)


class ChunkedModule(nn.Module):
    """A module that takes each token on its own, some tokens at a time, so that its hidden layer is never there whole.

    Where gradients are wanted a chunk keeps its input alone and is computed again in the backward pass, with the
    weights of this pass, which `torch.func.functional_call` may have passed in; compilers decide that for themselves.
    """

    chunks: int

    def transform(self, x: Tensor) -> Tensor:
        """Return the output for some tokens, (…, D) → (…, D)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        if self.chunks == 1:
            return self.transform(x)
        chunks = x.reshape(-1, x.shape[-1]).chunk(self.chunks)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            call, weights = _Transform(self), {f"of.{name}": weight for name, weight in self.named_parameters()}
            again = partial(checkpoint, functional_call, call, use_reentrant=False, preserve_rng_state=False)
            done = [again(weights, (chunk,)) for chunk in chunks]
        else:
            done = [self.transform(chunk) for chunk in chunks]
        return torch.cat(done).view_as(x)


class _Transform(nn.Module):
    """Calls `transform` of a module."""

    def __init__(self, of: ChunkedModule):
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> Tensor:
        return self.of.transform(x)


class Ffn(Part):
    """The transformation of each token on its own between two mixings: (…, D) → (…, D)."""

    def build(self, site: Site) -> nn.Module:
        """Return the module, (…, D) → (…, D)."""
        raise NotImplementedError


class Mlp(Ffn):
    """down(act(up(x))), D → expand·D → D. Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3.

    DANet's, as published, is `mlp(activation=relu, bias=False, init=1.0)`.
    """

    added = {"init": None}  # noqa: RUF012

    expand: float = 4.0
    "Hidden width over model width."
    activation: Activation = "gelu"
    "The non-linearity."
    bias: bool = True
    "Whether both projections have one."
    chunks: int = 1
    """Chunks that the tokens go through in: the hidden layer takes 1/chunks of the memory, training one more forward
    pass."""
    init: float | None = None
    """Both weights start as N(0, σ²), σ = init/√(2·expand·D), whatever the model's `initializer_range`; as that says
    unless given."""

    def check(self) -> None:
        _check_sizes(self)
        check_init(self)

    def build(self, site: Site) -> nn.Module:
        return MlpModule(site.width, _hidden_width(self, site), self)


class Glu(Ffn):
    """down(act(gate(x)) ⊙ up(x)): SwiGLU with silu, the original GLU with sigmoid.

    Source: Shazeer 2020, arXiv:2002.05202.
    """

    expand: float = 8 / 3
    "Hidden width over model width; 8/3 has the parameters of an MLP with 4."
    activation: Activation = "silu"
    "The gate's non-linearity."
    bias: bool = False
    "Whether the projections have one."
    chunks: int = 1
    """Chunks that the tokens go through in: the hidden layer takes 1/chunks of the memory, training one more forward
    pass."""

    def check(self) -> None:
        _check_sizes(self)

    def build(self, site: Site) -> nn.Module:
        return GluModule(site.width, _hidden_width(self, site), self)


def _check_sizes(part: Mlp | Glu) -> None:
    """Raise ValueError for a hidden layer without a width, and for no chunks."""
    if part.expand <= 0:
        raise ValueError(f"{part}: expand must be positive")
    if part.chunks < 1:
        raise ValueError(f"{part}: chunks must be at least 1")


def _hidden_width(part: Mlp | Glu, site: Site) -> int:
    return max(1, round(part.expand * site.width))


class MlpModule(ChunkedModule):
    def __init__(self, width: int, hidden: int, part: Mlp):
        super().__init__()
        self.up_proj = nn.Linear(width, hidden, bias=part.bias)
        self.down_proj = nn.Linear(hidden, width, bias=part.bias)
        self.activation, self.chunks = part.activation, part.chunks
        self.std = None if part.init is None else part.init / math.sqrt(2 * part.expand * width)

    def transform(self, x: Tensor) -> Tensor:
        return self.down_proj(_activate(self.activation, self.up_proj(x), self.up_proj))

    def init_weights(self, std: float) -> None:
        """Set both weights to the part's own scale, where it has one."""
        if self.std is not None:
            nn.init.normal_(self.up_proj.weight, std=self.std)
            nn.init.normal_(self.down_proj.weight, std=self.std)


class GluModule(ChunkedModule):
    def __init__(self, width: int, hidden: int, part: Glu):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=part.bias)
        self.up_proj = nn.Linear(width, hidden, bias=part.bias)
        self.down_proj = nn.Linear(hidden, width, bias=part.bias)
        self.activation, self.chunks = part.activation, part.chunks

    def transform(self, x: Tensor) -> Tensor:
        return self.down_proj(_activate(self.activation, self.gate_proj(x), self.gate_proj) * self.up_proj(x))
