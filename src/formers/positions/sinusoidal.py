"""Sinusoidal positions."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from formers.part import Site
from formers.positions.position import Position


class Sinusoidal(Position):
    """Sines and cosines of the position at geometric frequencies, added to or concatenated with the embedding.

    PE(i, 2m) = sin(i / base^{2m/P}), PE(i, 2m+1) = cos(i / base^{2m/P}), P = width of the encoding. No parameters; any
    length. As published the embedding is multiplied by √D where they are added, without which it begins far smaller
    than they are. Source: Vaswani et al. 2017, arXiv:1706.03762, sections 3.4 and 3.5; concatenated as in
    arXiv:2006.16236, section 4.2.
    """

    acts_on = "input"
    added = {"scale": 1.0}  # noqa: RUF012
    how: Literal["add", "concatenate"] = "add"
    "`add` to the embedding (P = D), or `concatenate` behind an embedding of D − P."
    width: int | None = None
    "P when concatenating; half the model width unless given."
    base: float = 10000.0
    "The longest wavelength is 2π·base."
    scale: float | None = None
    "Factor on the embedding; √D where the encoding is added and 1 where concatenated, as published, unless given."

    def check(self) -> None:
        check_base(self, self.base)
        if self.how == "add" and self.width is not None:
            raise ValueError("sinusoidal(how='add') has the model's width; leave width out, or use how='concatenate'")

    def encoding_width(self, site: Site) -> int:
        """Return P. Raise ValueError where it is odd or leaves no room for the embedding."""
        half = site.width // 2 if self.width is None else self.width
        width = site.width if self.how == "add" else half
        if width % 2 or not 0 < width <= site.width - (self.how == "concatenate"):
            raise ValueError(
                f"{self}: the encoding's width must be even and below the model's {site.width}, but is {width}"
            )
        if width == 2 and self.base != type(self).base:
            raise ValueError(f"{self}: base changes all waves but the fastest, and a width of 2 has one; leave it out")
        return width

    def embedding_width(self, site: Site) -> int:
        return site.width if self.how == "add" else site.width - self.encoding_width(site)

    def build(self, site: Site) -> nn.Module:
        published = math.sqrt(site.width) if self.how == "add" else 1.0
        return SinusoidalPosition(self, self.encoding_width(site), published if self.scale is None else self.scale)


def check_base(part: Position, base: float) -> None:
    """Raise ValueError unless powers of the base are frequencies."""
    if not 0 < base < math.inf:
        raise ValueError(f"{part}: base must be positive, but {base} was given")


class SinusoidalPosition(nn.Module):
    def __init__(self, part: Sinusoidal, width: int, scale: float):
        super().__init__()
        self.width, self.base, self.scale = width, part.base, scale
        self.concatenate = part.how == "concatenate"

    def forward(self, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        x_bld = x_bld if self.scale == 1 else x_bld * self.scale
        wide = torch.promote_types(x_bld.dtype, torch.float32)
        pe_blp = sinusoids(positions_bl, self.width, self.base, dtype=wide).to(x_bld.dtype)
        if not self.concatenate:
            return x_bld + pe_blp
        return torch.cat([x_bld, pe_blp.expand(x_bld.shape[0], -1, -1)], -1)


def sinusoids(positions_bl: Tensor, width: int, base: float = 10000.0, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return sin and cos of i / base^{2m/width}, interleaved: (…, L) → (…, L, width). `dtype`: float32 or wider."""
    angles = positions_bl.unsqueeze(-1) * frequencies(width, base, positions_bl.device).to(dtype)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-2)


def frequencies(width: int, base: float, device: torch.device) -> Tensor:
    """Return θ_m = base^{−2m/width}, m = 0 … width/2 − 1.

    Made anew from its formula wherever it is used, in float64, to be rounded by the caller: it costs nothing beside the
    rest, and there is no buffer that a checkpoint, a change of dtype or a meta device could spoil.
    """
    m = torch.arange(0, width, 2, dtype=torch.float64, device=device)
    return base ** (-m / width)
