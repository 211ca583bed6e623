"""Rotary positions."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from formers.ops import read_once
from formers.part import Site
from formers.positions.position import Position
from formers.positions.sinusoidal import check_base, frequencies


class Rotary(Position):
    """Rotates pairs of query and key features by an angle that grows with the position.

    (a, b) → (a·cos iθ_m − b·sin iθ_m, a·sin iθ_m + b·cos iθ_m), θ_m = base^{−2m/R}, R = fraction·K, so that a score
    depends on positions only through their difference. Source: Su et al. 2021, arXiv:2104.09864; scalings: Chen et al.
    2023, arXiv:2306.15595 (linear), Peng et al. 2023, arXiv:2309.00071 (NTK-aware, YaRN), Llama 3.1 (llama3:
    arXiv:2407.21783 and its published code).
    """

    acts_on = "heads"
    base: float = 10000.0
    "The slowest pair turns once in about 2π·base tokens."
    fraction: float = 1.0
    "Share of each head's width that is rotated; the rest carries no position."
    offset: int = 0
    "Added to every position."
    layout: Literal["half", "interleaved"] = "half"
    "Pairs are (m, m + R/2), as in Llama and NeoX, or (2m, 2m + 1), as in the paper and GPT-J."
    scaling: Literal["none", "linear", "ntk", "yarn", "llama3"] = "none"
    "How to stretch to longer sequences than were trained on, by `factor`."
    factor: float = 1.0
    "Longest length over trained length."
    trained_length: int | None = None
    "The trained length, for YaRN and llama3; the model's context_length / factor unless given."

    def check(self) -> None:
        check_base(self, self.base)
        if self.scaling == "yarn" and self.base <= 1:
            raise ValueError(
                f"{self}: YaRN counts the turns of pairs, which are slower and slower: base must be above 1"
            )
        if not 0 < self.fraction <= 1:
            raise ValueError(f"rotary: fraction must lie in (0, 1], but {self.fraction} was given")
        if self.factor < 1 or (self.factor > 1) != (self.scaling != "none"):
            raise ValueError(
                "rotary: a factor above 1 and a scaling (linear, ntk, yarn or llama3) go together, but "
                f"factor={self.factor} and scaling={self.scaling!r} were given"
            )
        if self.trained_length is not None and (self.scaling not in ("yarn", "llama3") or self.trained_length < 1):
            raise ValueError(
                f"rotary: trained_length is for scaling='yarn' or 'llama3' and at least 1, but {self.trained_length} "
                f"was given with scaling={self.scaling!r}"
            )

    def build(self, site: Site) -> nn.Module:
        rotated = int(site.head_width * self.fraction) // 2 * 2
        if rotated == 0 or (self.fraction == 1 and site.head_width % 2):
            raise ValueError(
                f"{self} rotates pairs, but a head is {site.head_width} wide; make it even, or change fraction"
            )
        of_several = self.scaling == "ntk" or self.base != type(self).base or self.layout != type(self).layout
        if rotated == 2 and of_several:
            raise ValueError(
                f"{self}: layout, base and scaling='ntk' tell several pairs apart, and one pair is all that is rotated "
                f"of a head that is {site.head_width} wide; leave them out, or rotate more"
            )
        return RotaryPosition(self, rotated, self.trained_length or max(1, int(site.context_length / self.factor)))


class RotaryPosition(nn.Module):
    def __init__(self, part: Rotary, rotated: int, trained_length: int):
        super().__init__()
        self.part, self.rotated, self.trained_length = part, rotated, trained_length
        self.name = f"rotations {part} {rotated} {trained_length} "

    def forward(self, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
        """Rotate the first R features of every head: (B, H, L, K), (B|1, L) → (B, H, L, K)."""
        cos, sin = self.rotations(positions_bl, x_bhlk.dtype)
        whole = x_bhlk.shape[-1] == self.rotated
        turned = x_bhlk if whole else x_bhlk[..., : self.rotated]
        if self.part.layout == "half":
            partner = turned.roll(self.rotated // 2, -1)
        else:
            partner = turned.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        turned = torch.addcmul(turned * cos, partner, sin)
        return turned if whole else torch.cat([turned, x_bhlk[..., self.rotated :]], -1)

    def rotations(self, positions_bl: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cos and ± sin of the angle of every feature, (B|1, 1, L, R), once for all layers, queries and keys.

        The sine is that of the partner in a pair: −sin for a, which b enters with. Computed in float32 or wider
        whatever the dtype.
        """
        name = self.name + str(dtype)
        return read_once(positions_bl, name, lambda positions_bl: self._rotations(positions_bl, dtype))

    def _rotations(self, positions_bl: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        theta, magnitude = self.angles_per_token(positions_bl.device)
        theta = theta.to(torch.promote_types(dtype, torch.float32))
        angles = ((positions_bl + self.part.offset).unsqueeze(-1) * theta).unsqueeze(1)
        cos, sin = angles.cos() * magnitude, angles.sin() * magnitude
        if self.part.layout == "half":
            return torch.cat([cos, cos], -1).to(dtype), torch.cat([-sin, sin], -1).to(dtype)
        return cos.repeat_interleave(2, -1).to(dtype), torch.stack([-sin, sin], -1).flatten(-2).to(dtype)

    def angles_per_token(self, device: torch.device) -> tuple[Tensor, float]:
        """Return θ_m after scaling, in float64, and the factor that YaRN puts on cos and sin."""
        part, r = self.part, self.rotated
        if part.scaling == "ntk" and r > 2:
            return frequencies(r, part.base * part.factor ** (r / (r - 2)), device), 1.0
        theta = frequencies(r, part.base, device)
        if part.scaling == "linear":
            return theta / part.factor, 1.0
        if part.scaling == "yarn":
            return _yarn(theta, part.base, part.factor, self.trained_length), 0.1 * math.log(part.factor) + 1.0
        if part.scaling == "llama3":
            return _llama3(theta, part.factor, self.trained_length), 1.0
        return theta, 1.0


def _llama3(theta: Tensor, factor: float, trained_length: int, fast: float = 4, slow: float = 1) -> Tensor:
    """Return θ with the pairs slowed that turn less than `slow` times in the trained length.

    Those above `fast` turns stay as they are, and in between the share that stays grows with the turns.
    """
    turns = theta * trained_length / (2 * math.pi)
    kept = ((turns - slow) / (fast - slow)).clamp(0, 1)
    return theta * kept + theta / factor * (1 - kept)


def _yarn(theta: Tensor, base: float, factor: float, trained_length: int, fast: float = 32, slow: float = 1) -> Tensor:
    """Return θ with the pairs slowed that turn less than `slow` times in the trained length.

    Those above `fast` stay as they are, and a ramp leads from one to the other.
    """
    pairs = len(theta)

    def pair_turning(times: float) -> float:
        return pairs * math.log(trained_length / (times * 2 * math.pi)) / math.log(base)

    low = max(math.floor(pair_turning(fast)), 0)
    high = min(math.ceil(pair_turning(slow)), 2 * pairs - 1)
    ramp = ((torch.arange(pairs, dtype=theta.dtype, device=theta.device) - low) / max(high - low, 1e-3)).clamp(0, 1)
    return theta * (1 - ramp) + theta / factor * ramp
