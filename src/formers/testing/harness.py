"""Where a part is tried: built alone or in the smallest company it needs, behind the one interface that all laws use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from formers.ffn import Ffn, Mlp
from formers.mixers import FeatureMap, Linear, Mixer, Softmax
from formers.mixers.context import count_tokens
from formers.norms import LayerNorm, Norm
from formers.part import Part, Site, State
from formers.positions import Position
from formers.residuals import PreNorm, Residual
from formers.testing.references import has_reference

SITE = Site(width=24, heads=3, causal=False, context_length=128)
"""Where laws build parts, unless told otherwise: small, and no two sizes alike."""
BATCH, LENGTH = 2, 77
"""Sizes of the laws' inputs: the length is a multiple of no block."""


class Positioned(nn.Module):
    """A position that acts on the input, in front of a mixer."""

    def __init__(self, position: nn.Module, width: int, mixer: nn.Module):
        super().__init__()
        self.position, self.width, self.mixer = position, width, mixer

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        if positions_bl is None:
            positions_bl = count_tokens(x_bld, mask_bl, state) - 1
        x_bld = self.position(x_bld[..., : self.width], positions_bl)
        return self.mixer(x_bld, state, mask_bl=mask_bl, positions_bl=positions_bl)


class Wired(nn.Module):
    """A layer between what its wiring does before the first and after the last one."""

    def __init__(self, wiring: Residual, layer: nn.Module):
        super().__init__()
        self.wiring, self.layer = wiring, layer

    def forward(
        self,
        x_bld: Tensor,
        state: State | None = None,
        *,
        mask_bl: Tensor | None = None,
        positions_bl: Tensor | None = None,
    ) -> tuple[Tensor, State | None]:
        x, state = self.layer(self.wiring.enter(x_bld), state, mask_bl=mask_bl, positions_bl=positions_bl)
        return self.wiring.leave(x), state


def _host_mixer(part: Any, site: Site) -> nn.Module:
    return part.build(site)


def _host_feature(part: Any, site: Site) -> nn.Module:
    return Linear(feature=part).build(site)


def _host_position(part: Any, site: Site) -> nn.Module:
    site = replace(site, position=part)
    mixer = Softmax().build(site)
    return Positioned(part.build(site), part.embedding_width(site), mixer) if part.acts_on == "input" else mixer


def _host_norm(part: Any, site: Site) -> nn.Module:
    return PreNorm().build(site, Softmax().build(site), Mlp().build(site), part)


def _host_ffn(part: Any, site: Site) -> nn.Module:
    return PreNorm().build(site, Softmax().build(site), part.build(site), LayerNorm())


def _host_residual(part: Any, site: Site) -> nn.Module:
    layer = part.build(site, Softmax().build(site), Mlp().build(site), LayerNorm())
    return layer if type(part).enter is Residual.enter else Wired(part, layer)


HOSTS: dict[type[Part], Callable[[Any, Site], nn.Module]] = {
    Mixer: _host_mixer,
    FeatureMap: _host_feature,
    Position: _host_position,
    Norm: _host_norm,
    Ffn: _host_ffn,
    Residual: _host_residual,
}
"""Axis → how a part of it is built into something with the interface of a mixer: `y, state = module(x, state, …)`."""


def _host_of(part: Part) -> type[Part]:
    """The axis whose host takes the part. Raises `TypeError` where there is none."""
    for axis in HOSTS:
        if isinstance(part, axis):
            return axis
    known = ", ".join(axis.name() for axis in HOSTS)
    raise TypeError(f"no law knows how to build {part}: it is on none of the axes {known}; add its axis to HOSTS")


def abilities(part: Part) -> frozenset[str]:
    """What the laws may demand of the part: the abilities of what hosts it, its axis' name, `relative` and `reference`.

    `relative` is a position that acts on heads or scores: it may depend on differences of positions only. `reference` is
    a part with an independent form of the whole, in `formers.testing.references`.
    """
    axis = _host_of(part)
    own = {axis.name()} | ({"reference"} if has_reference(part) else set())
    if axis is Mixer:
        return part.abilities | own
    if isinstance(part, Position):
        relative = {"relative"} if part.acts_on in ("heads", "scores") else set()
        return Softmax.can - {"qk_position", "score_position", "order_blind"} | own | relative
    host = Linear.can if axis is FeatureMap else Softmax.can
    return host - {"qk_position", "score_position"} | own


def build(
    part: Part,
    *,
    causal: bool,
    site: Site = SITE,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> nn.Module:
    """The part in its host, in eval mode, with parameters away from any special start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = HOSTS[_host_of(part)](part, replace(site, causal=causal))
        _unsettle(module)
    return module.to(dtype).eval()


@torch.no_grad()
def _unsettle(module: nn.Module) -> None:
    """Moves parameters away from the zeros and ones they may start with, where a fault would not show."""
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if not (isinstance(owner, nn.Linear) and name == "weight"):
                parameter.add_(0.3 * torch.randn_like(parameter))


def directions(part: Part) -> list[bool]:
    """The values of `causal` that the part can be built with."""
    can = abilities(part)
    return [causal for causal, ability in ((True, "causal"), (False, "bidirectional")) if ability in can]


def tokens(
    batch: int = BATCH,
    length: int = LENGTH,
    width: int = SITE.width,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Hidden states N(0, 1), (B, L, D)."""
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def silences_padding(part: Part) -> bool:
    """Whether the host takes in no padding at all. In one with norms and feed-forwards, padding stays in its own row."""
    return _host_of(part) in (Mixer, FeatureMap, Position)


def padding_mask(batch: int = BATCH, length: int = LENGTH) -> Tensor:
    """A mask with padding on the left of the first row, and inside and on the right of the others; (B, L) bool."""
    mask_bl = torch.ones(batch, length, dtype=torch.bool)
    mask_bl[0, : length // 5] = False
    mask_bl[1:, length // 3 : length // 2] = False
    mask_bl[1:, -(length // 6) :] = False
    return mask_bl
