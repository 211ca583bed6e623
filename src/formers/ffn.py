"""The feed-forward axis: the transformation of each token on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from formers.mixers.documents import Documents, GlobalMask, Mask
from formers.ops import activated_linear, packing, pad_input, unpad_input
from formers.part import Part, Site, check_init, is_plain_linear

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


def _hidden(name: str, source: nn.Linear, x: Tensor) -> Tensor:
    """Return the named activation of `source(x)`, on a GPU by the kernel of the product where there is one."""
    if name in ("relu", "gelu_tanh") and x.is_cuda and is_plain_linear(source):
        return activated_linear(x, source.weight, source.bias, name)
    return _activate(name, source(x), source)


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
    """The transformation of each token between two mixings: (…, D) → (…, D)."""

    mixes_tokens: ClassVar[bool] = False
    """Whether an output depends on neighbouring tokens, too: the module takes (B, L, D) and their mask. It keeps no
    state, so that such a model does not stream."""

    def build(self, site: Site) -> nn.Module:
        """Return the module, (…, D) → (…, D)."""
        raise self.lacks("build(site)")


class Mlp(Ffn):
    """down(act(up(x))), D → expand·D → D. Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.3.

    DANet's, as published, is `mlp(activation=relu, bias=False, init=1.0)`.
    """

    added = {"init": None}  # noqa: RUF012
    starts = {"init": ("up_proj.weight", "down_proj.weight")}  # noqa: RUF012

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


class SeparableConv(Ffn):
    """down(act(up(x))), where up and down are separable convolutions along the tokens: D → expand·D → D.

    Each is a filter of each feature by itself, Σ_j w_j ⊙ x_{i+j}, then a projection of each token: k·D + D·D′ weights
    in the place of k·D·D′. In a causal model filters reach back, else to both sides. Neighbours are those of the same
    document, padding left out; beyond its ends there are zeros. A model does not stream with it. Source: Chollet 2016,
    arXiv:1610.02357; as the transition of Universal Transformers, arXiv:1807.03819, section 2.1.
    """

    mixes_tokens = True

    expand: float = 4.0
    "Hidden width over model width."
    activation: Activation = "relu"
    "The non-linearity."
    bias: bool = True
    "Whether both projections have one."
    up_kernel: int = 3
    "Tokens that the first filter takes in."
    down_kernel: int = 5
    "Tokens that the second filter takes in."

    def check(self) -> None:
        if min(self.up_kernel, self.down_kernel) < 1:
            raise ValueError(f"{self}: kernels must be at least 1")
        if self.expand <= 0:
            raise ValueError(f"{self}: expand must be positive")

    def build(self, site: Site) -> nn.Module:
        if not site.causal and not (self.up_kernel % 2 and self.down_kernel % 2):
            raise ValueError(f"{self}: kernels must be odd in a bidirectional model, to reach as far to both sides")
        return SeparableConvModule(site, _hidden_width(self, site), self)


def mixes_tokens(ffn: nn.Module) -> bool:
    """Return whether the output of a built feed-forward depends on neighbouring tokens, too."""
    return isinstance(ffn, SeparableConvModule)


def _hidden_width(part: Mlp | Glu | SeparableConv, site: Site) -> int:
    return max(1, round(part.expand * site.width))


class MlpModule(ChunkedModule):
    def __init__(self, width: int, hidden: int, part: Mlp):
        super().__init__()
        self.up_proj = nn.Linear(width, hidden, bias=part.bias)
        self.down_proj = nn.Linear(hidden, width, bias=part.bias)
        self.activation, self.chunks = part.activation, part.chunks
        self.std = None if part.init is None else part.init / math.sqrt(2 * part.expand * width)

    def transform(self, x: Tensor) -> Tensor:
        return self.down_proj(_hidden(self.activation, self.up_proj, x))

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


class TokenFilter(nn.Module):
    """Σ_j w_j ⊙ x_{i+j} over the tokens around i, or up to it, (N, M, D) → (N, M, D); zeros beyond the ends."""

    def __init__(self, width: int, kernel: int, *, causal: bool):
        super().__init__()
        self.before = kernel - 1 if causal else kernel // 2
        self.weight = nn.Parameter(torch.empty(kernel, width))
        self.init_weights()

    def forward(self, x_nmd: Tensor) -> Tensor:
        kernel, length = len(self.weight), x_nmd.shape[1]
        wide = F.pad(x_nmd, (0, 0, self.before, kernel - 1 - self.before))
        return torch.stack([wide[:, j : j + length] * self.weight[j] for j in range(kernel)]).sum(0)

    def init_weights(self, std: float = 0.0) -> None:
        """Draw the weights from N(0, 1/k), whatever `std` is, so that the filter keeps the size of its input."""
        nn.init.normal_(self.weight, std=len(self.weight) ** -0.5)


class SeparableConvModule(nn.Module):
    def __init__(self, site: Site, hidden: int, part: SeparableConv):
        super().__init__()
        self.up_filter = TokenFilter(site.width, part.up_kernel, causal=site.causal)
        self.up_proj = nn.Linear(site.width, hidden, bias=part.bias)
        self.down_filter = TokenFilter(hidden, part.down_kernel, causal=site.causal)
        self.down_proj = nn.Linear(hidden, site.width, bias=part.bias)
        self.activation = part.activation

    def forward(self, x_bld: Tensor, mask_bl: Mask = None) -> Tensor:
        mask = mask_bl.mask if isinstance(mask_bl, GlobalMask) else mask_bl
        if isinstance(mask, Documents):
            return x_bld if mask.lengths == () else mask.map(lambda b: self.transform(b.take(x_bld), b.mask_nm), "near")
        if mask is None or not x_bld.shape[1]:
            return self.transform(x_bld, None)
        pack = packing(mask)
        real_bl = torch.arange(x_bld.shape[1], device=x_bld.device) < pack.length_b.unsqueeze(1)
        return pad_input(self.transform(unpad_input(x_bld, pack), real_bl), pack)

    def transform(self, x_nmd: Tensor, mask_nm: Tensor | None) -> Tensor:
        """Return the output for documents that begin at the first token of a row and have padding behind."""
        hidden = _activate(self.activation, self.up_proj(self.up_filter(_zeroed(x_nmd, mask_nm))), self.up_proj)
        down: Tensor = self.down_proj(self.down_filter(_zeroed(hidden, mask_nm)))
        return down


def _zeroed(x_nmd: Tensor, mask_nm: Tensor | None) -> Tensor:
    """Return tokens with zeros at padding."""
    return x_nmd if mask_nm is None else x_nmd.masked_fill(~mask_nm.unsqueeze(-1), 0)
