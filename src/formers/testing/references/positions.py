"""References of positions, and how those of mixers apply them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from formers.part import Site
from formers.positions import Alibi, Cosine, Learned, NoPosition, Rotary, Sinusoidal
from formers.testing.references.algebra import Weights, under
from formers.testing.references.registry import reference, reference_of


def on_layer(site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """Return the hidden states that enter a mixer, changed by the site's position where it acts on these."""
    return _at("layer", "layer_position", site, weights, x_bld, positions_bl)


def on_heads(site: Site, weights: Weights, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
    """Return queries or keys, changed by the site's position where it acts on these."""
    return _at("heads", "head_position", site, weights, x_bhlk, positions_bl)


def on_scores(site: Site, weights: Weights, positions_bl: Tensor) -> Tensor:
    """Return what the site's position adds to the scaled scores of all pairs, (B, H, L, L) or 0."""
    zero = torch.zeros((), dtype=torch.float64)
    return _at("scores", "score_position", site, weights, positions_bl, positions_bl, otherwise=zero)


def _at(place: str, name: str, site: Site, weights: Weights, *given: Tensor, otherwise: Tensor | None = None) -> Tensor:
    position: Any = site.position
    if position is None or position.acts_on != place:
        return given[0] if otherwise is None else otherwise
    changed: Tensor = reference_of(position)(position, site, under(weights, name), *given)
    return changed


@reference(NoPosition)
def no_position(part: NoPosition, site: Site, weights: Weights, x: Tensor, positions_bl: Tensor) -> Tensor:
    """x."""
    return x


@reference(Sinusoidal)
def sinusoidal(part: Sinusoidal, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """PE(i, 2m) = sin(i/base^{2m/P}), PE(i, 2m+1) = cos(i/base^{2m/P}), added to s·x, or behind s·x of width D − P.

    s = √D where added and 1 where behind, unless given.
    """
    adds = part.how == "add"
    width = site.width if adds else site.width // 2 if part.width is None else part.width
    encoding = torch.zeros(*positions_bl.shape, width, dtype=torch.float64)
    for c in range(width):
        angle = positions_bl.double() / part.base ** (2 * (c // 2) / width)
        encoding[:, :, c] = angle.cos() if c % 2 else angle.sin()
    encoding = encoding.expand(len(x_bld), -1, -1)
    x_bld = x_bld * (part.scale if part.scale is not None else site.width**0.5 if adds else 1.0)
    return x_bld + encoding if adds else torch.cat([x_bld, encoding], -1)


@reference(Learned)
def learned(part: Learned, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """x_i + T_i; with `copy` the table T begins anew behind its end."""
    table = weights["table.weight"]
    return x_bld + table[positions_bl % len(table) if part.beyond == "copy" else positions_bl]


@reference(Cosine)
def cosine(part: Cosine, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """x_im · cos(i·θ_m), θ_m = base^{−m/D}; or x_im · (cos(i·θ_m) − sin(i·θ_m)); θ_m of each head anew if per head."""
    columns = []
    width = site.width // site.heads if part.per_head else site.width
    for m in range(site.width):
        angle = positions_bl.double() * part.base ** (-(m % width) / width)
        columns.append(x_bld[:, :, m] * (angle.cos() if part.wave == "cos" else angle.cos() - angle.sin()))
    return torch.stack(columns, -1)


@reference(Alibi)
def alibi(part: Alibi, site: Site, weights: Weights, q_positions_bl: Tensor, k_positions_bs: Tensor) -> Tensor:
    """−m_h·|i − j|; for 2ⁿ heads m_h is a geometric series from 2^{−8/H} with that ratio.

    For other numbers of heads: the series of the power below, and then every other slope of the power above.
    """
    below = 1
    while 2 * below <= site.heads:
        below *= 2
    slopes = [2.0 ** (-8 * h / below) for h in range(1, below + 1)]
    slopes += [2.0 ** (-8 * h / (2 * below)) for h in range(1, 2 * below, 2)]
    distance_bls = (q_positions_bl[:, :, None] - k_positions_bs[:, None, :]).abs().double()
    return torch.stack([-slopes[h] * distance_bls for h in range(site.heads)], 1)


@reference(Rotary)
def rotary(part: Rotary, site: Site, weights: Weights, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
    """(a, b) → (a cos iθ_m − b sin iθ_m, a sin iθ_m + b cos iθ_m) for every pair m of the features turned."""
    pairs = int(x_bhlk.shape[3] * part.fraction) // 2
    grown = 0.1 * math.log(part.factor) + 1 if part.scaling == "yarn" else 1.0
    columns = list(x_bhlk.unbind(-1))
    for m in range(pairs):
        first, second = (m, m + pairs) if part.layout == "half" else (2 * m, 2 * m + 1)
        a, b = x_bhlk[..., first], x_bhlk[..., second]
        angle = ((positions_bl + part.offset).double() * _turn(part, site, m, pairs))[:, None, :]
        columns[first] = grown * (a * angle.cos() - b * angle.sin())
        columns[second] = grown * (a * angle.sin() + b * angle.cos())
    return torch.stack(columns, -1)


def _turn(part: Rotary, site: Site, m: int, pairs: int) -> float:
    """Return θ_m = base^{−2m/R}, R = 2·pairs, stretched as `scaling` says."""
    theta = part.base ** (-m / pairs)
    if part.scaling == "linear":
        return theta / part.factor
    if part.scaling == "ntk" and pairs > 1:
        return float((part.base * part.factor ** (pairs / (pairs - 1))) ** (-m / pairs))
    if part.scaling == "yarn":
        kept = 1 - _yarn_ramp(part, site, m, pairs)
        return theta * kept + theta / part.factor * (1 - kept)
    return theta


def _yarn_ramp(part: Rotary, site: Site, m: int, pairs: int) -> float:
    """Return how much of a pair is slowed: nothing of one with 32 turns in the trained length, all of one with 1 turn.

    As in the published code, a line in m between whole numbers of pairs.
    """
    trained = part.trained_length or max(1, int(site.context_length / part.factor))

    def pair_with(turns: float) -> float:
        return 2 * pairs * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(part.base))

    low = max(math.floor(pair_with(32)), 0)
    high = min(math.ceil(pair_with(1)), 2 * pairs - 1)
    return min(max((m - low) / (high - low if high > low else 0.001), 0.0), 1.0)
