"""References of positions, and how those of mixers apply them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from formers.part import Site
from formers.positions import T5, Alibi, Cosine, Da, Grid, Learned, NoPosition, Rotary, Shaw, Sinusoidal, Xl
from formers.testing.references.algebra import Weights, under
from formers.testing.references.registry import reference, reference_of


def on_layer(site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """Return the hidden states that enter a mixer, changed by the site's position where it acts on these."""
    return _at("layer", "layer_position", site, weights, x_bld, positions_bl)


def on_heads(site: Site, weights: Weights, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
    """Return queries or keys, changed by the site's position where it acts on these."""
    return _at("heads", "head_position", site, weights, x_bhlk, positions_bl)


class Related(NamedTuple):
    """What a position makes of all pairs: their scores (B, H, L, L), and what it adds to each value, (B, L, L, V)."""

    scores: Tensor
    values: Tensor | None = None


def related(
    site: Site, weights: Weights, scores_bhll: Tensor, q_bhlk: Tensor, k_bhlk: Tensor, positions_bl: Tensor
) -> Related:
    """Return the scaled scores of all pairs, changed by the site's position where it acts on scores or weights."""
    position: Any = site.position
    if position is None or position.acts_on not in ("scores", "weights"):
        return Related(scores_bhll)
    own = under(weights, "score_position")
    changed: Related = reference_of(position)(position, site, own, scores_bhll, q_bhlk, k_bhlk, positions_bl)
    return changed


def _at(place: str, name: str, site: Site, weights: Weights, x: Tensor, positions_bl: Tensor) -> Tensor:
    position: Any = site.position
    if position is None or position.acts_on != place:
        return x
    changed: Tensor = reference_of(position)(position, site, under(weights, name), x, positions_bl)
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
    """x_i + T_i; with `copy` the table T begins anew behind its end. Its first `offset` rows are no position's."""
    table = weights["table.weight"][part.offset :]
    return x_bld + table[positions_bl % len(table) if part.beyond == "copy" else positions_bl]


@reference(Grid)
def grid(part: Grid, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """[R_r, C_c] behind x_i, or added to it, where i is the pixel in row r and column c."""
    pixels = [divmod(i, part.columns) for i in range(part.rows * part.columns)]
    table = torch.stack([torch.cat([weights["row.weight"][r], weights["column.weight"][c]]) for r, c in pixels])
    encoding = table[positions_bl].expand(len(x_bld), -1, -1)
    return x_bld + encoding if part.how == "add" else torch.cat([x_bld, encoding], -1)


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
def alibi(
    part: Alibi, site: Site, weights: Weights, scores: Tensor, q: Tensor, k: Tensor, positions_bl: Tensor
) -> Related:
    """s_ij − m_h·|i − j|; for 2ⁿ heads m_h is a geometric series from 2^{−8/H} with that ratio.

    For other numbers of heads: the series of the power below, and then every other slope of the power above.
    """
    below = 1
    while 2 * below <= site.heads:
        below *= 2
    slopes = [2.0 ** (-8 * h / below) for h in range(1, below + 1)]
    slopes += [2.0 ** (-8 * h / (2 * below)) for h in range(1, 2 * below, 2)]
    distance_bll = _ahead(positions_bl).abs().double()
    return Related(scores - torch.stack([slopes[h] * distance_bll for h in range(site.heads)], 1))


@reference(T5)
def t5(part: T5, site: Site, weights: Weights, scores: Tensor, q: Tensor, k: Tensor, positions_bl: Tensor) -> Related:
    """s_ij + the entry of the pair's bucket: a distance each, then distances up to `reach` in equal steps of log."""
    count = part.buckets if site.causal else part.buckets // 2
    exact = count // 2

    def bucket(ahead: int) -> int:
        side, far = (0, max(-ahead, 0)) if site.causal else (count * (ahead > 0), abs(ahead))
        begins = [exact * (part.reach / exact) ** (step / (count - exact)) for step in range(count - exact)]
        return side + (far if far < exact else exact - 1 + sum(begin <= far * (1 + 1e-12) for begin in begins))

    buckets = torch.tensor([[[bucket(d) for d in row] for row in rows] for rows in _ahead(positions_bl).tolist()])
    return Related(scores + weights["table.weight"][buckets].permute(0, 3, 1, 2))


@reference(Shaw)
def shaw(
    part: Shaw, site: Site, weights: Weights, scores: Tensor, q: Tensor, k: Tensor, positions_bl: Tensor
) -> Related:
    """q_i·(k_j + P^K_ℓ)/√K and Σ_j a_ij (v_j + P^V_ℓ), ℓ = j − i clipped, with a vector for every pair."""
    label_bll = torch.clamp(_ahead(positions_bl), -part.clip, part.clip) + part.clip
    keys_bllk = weights["keys_nk"][label_bll].expand(len(q), -1, -1, -1)
    changed = scores + torch.einsum("bhik,bijk->bhij", q, keys_bllk) / math.sqrt(q.shape[3])
    return Related(changed, weights["values_nk"][label_bll] if part.values else None)


@reference(Xl)
def xl(part: Xl, site: Site, weights: Weights, scores: Tensor, q: Tensor, k: Tensor, positions_bl: Tensor) -> Related:
    """(q_i·k_j + q_i·W_R r_{i−j} + u·k_j + v·W_R r_{i−j})/√K, with r_{i−j} of every pair."""
    behind_bll = -_ahead(positions_bl).double()
    if part.clamp is not None:
        behind_bll = behind_bll.clamp(-part.clamp, part.clamp)
    angles = torch.stack([behind_bll / 10000.0 ** (2 * m / site.width) for m in range(site.width // 2)], -1)
    r_blld = torch.cat([angles.sin(), angles.cos()], -1).expand(len(q), -1, -1, -1) @ weights["r_proj.weight"].T
    r_bhllk = torch.stack(r_blld.chunk(site.heads, -1), 1)
    u_hk, v_hk = weights["content_hk"], weights["distance_hk"]
    of_distance = torch.einsum("bhik,bhijk->bhij", q + v_hk[:, None], r_bhllk)
    of_content = torch.einsum("hk,bhjk->bhj", u_hk, k)[:, :, None]
    return Related(scores + (of_distance + of_content) / math.sqrt(q.shape[3]))


@reference(Da)
def da(part: Da, site: Site, weights: Weights, scores: Tensor, q: Tensor, k: Tensor, positions_bl: Tensor) -> Related:
    """ReLU(s_ij)·(1 + exp β)/(1 + exp(β − α·|i − j|))."""
    distance_bll, factors = _ahead(positions_bl).abs().double(), []
    for alpha, beta in zip(weights["alpha_h"], weights["beta_h"], strict=True):
        factors.append((1 + beta.exp()) / (1 + (beta - alpha * distance_bll).exp()))
    return Related(scores.clamp(min=0) * torch.stack(factors, 1))


def _ahead(positions_bl: Tensor) -> Tensor:
    """Return j − i of all pairs, (B, L, L)."""
    return positions_bl[:, None, :] - positions_bl[:, :, None]


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
    if part.scaling == "llama3":
        trained = part.trained_length or max(1, int(site.context_length / part.factor))
        wavelength = 2 * math.pi / theta
        if wavelength < trained / 4 or wavelength > trained:
            return theta if wavelength < trained / 4 else theta / part.factor
        kept = (trained / wavelength - 1) / 3
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
