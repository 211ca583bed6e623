"""References of the mixers that sum over features: linear attention, Performer, random feature attention."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from formers.mixers import ArcCosine, Favor, FeatureMap, Linear, Performer, RandomFourier, Rfa, WindowedLinear
from formers.part import Site
from formers.testing.references.algebra import Weights, everything, project, shared_heads, side_by_side, under
from formers.testing.references.features import features_of, least_denominator
from formers.testing.references.positions import on_heads, on_layer
from formers.testing.references.projections import project_heads
from formers.testing.references.registry import reference, reference_of


@reference(Linear)
def linear(part: Linear, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """y_i = Σ_j s_ij v_j / Σ_j s_ij, s_ij = φ(q_i)·φ(k_j), over j ≤ i when causal; not divided if not normalised.

    With turned features s_ij = (R_i φ(q_i))·(R_j φ(k_j)) in the numerator alone.
    """
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    position, past = site.position, everything(x_bld.shape[1], site.causal)
    turns = part.turned == "features" and position is not None and position.acts_on == "heads"
    given = replace(site, position=None) if turns else site
    s_bhls, v = _similarities(part.feature, given, weights, x_bld, positions_bl)
    total = torch.where(past, s_bhls, 0.0).sum(-1, keepdim=True) if part.normalize else None
    if turns:
        s_bhls = _turned_similarities(part.feature, site, weights, x_bld, positions_bl)
    sums = torch.where(past, s_bhls, 0.0) @ v
    return project(weights, "o_proj", side_by_side(_divided(sums, total, least_denominator(part.feature))))


def _turned_similarities(
    feature: FeatureMap, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor
) -> Tensor:
    """Return (R_i φ(q_i))·(R_j φ(k_j)) for all pairs, (B, H, L, L)."""
    q, k = (project_heads(site, weights, f"{name}_proj", x_bld, site.heads) for name in "qk")
    phi_q, phi_k = features_of(feature, under(weights, "feature"), q, k)
    at = replace(site, width=site.heads * phi_q.shape[3])
    turned_q, turned_k = (on_heads(at, weights, phi, positions_bl) for phi in (phi_q, phi_k))
    return torch.einsum("bhim,bhjm->bhij", turned_q, turned_k)


@reference(WindowedLinear)
def windowed_linear(part: WindowedLinear, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """e^(s_ij − m_i) for i − j < w and the first tokens, g φ(q_i)·φ(k_j) for all others before i, divided together."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    groups = part.kv_heads or site.heads
    q = on_heads(site, weights, project_heads(site, weights, "q_proj", x_bld, site.heads), positions_bl)
    k = on_heads(site, weights, project_heads(site, weights, "k_proj", x_bld, groups), positions_bl)
    k = shared_heads(k, site.heads)
    v = shared_heads(project_heads(site, weights, "v_proj", x_bld, groups), site.heads)
    i = torch.arange(x_bld.shape[1])
    past = everything(len(i), causal=True)
    near = past & ((i[:, None] - i[None, :] < part.window) | (i < part.sinks))
    scores = torch.where(near, torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3]), -torch.inf)
    similar = reference_of(part.feature)(part.feature, site, under(weights, "feature"), q, k)
    gain_h11 = weights["log_gain_h"].exp()[:, None, None]
    shares = torch.exp(scores - scores.amax(-1, keepdim=True)) + torch.where(past & ~near, gain_h11 * similar, 0.0)
    y = _divided(shares @ v, shares.sum(-1, keepdim=True), least_denominator(part.feature))
    return project(weights, "o_proj", side_by_side(y))


@reference(Performer)
def performer(part: Performer, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """Linear attention with the features of FAVOR+."""
    feature = Favor(features=part.features, kind=part.kind)  # the directions are saved
    return linear(Linear(feature=feature), site, weights, x_bld, positions_bl)


@reference(Rfa)
def rfa(part: Rfa, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """Linear attention with random features of the Gaussian or the arc-cosine kernel, with or without a gate."""
    feature = RandomFourier(sigma=part.sigma) if part.kernel == "gaussian" else ArcCosine()
    if part.gate:
        return _gated(feature, site, weights, x_bld, positions_bl)
    return linear(Linear(feature=feature), site, weights, x_bld, positions_bl)


def _gated(feature: FeatureMap, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """S_i = g_i S_{i−1} + (1 − g_i) φ(k_i) v_iᵀ, z_i = g_i z_{i−1} + (1 − g_i) φ(k_i), y_i = φ(q_i)·S_i / φ(q_i)·z_i.

    g_i = σ(w·x_i + b) per head. Written out, φ(q_i)·S_i = Σ_{j ≤ i} φ(q_i)·φ(k_j) (1 − g_j) g_{j+1} … g_i v_j.
    Denominators are compared with the least one after division by 1 − g_i, as if the token's own key counted whole.
    """
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    s_bhls, v = _similarities(feature, site, weights, x_bld, positions_bl)
    gate_bhl = 1 / (1 + torch.exp(-project(weights, "gate_proj", x_bld))).transpose(1, 2)
    rows, shares = [], torch.zeros(*gate_bhl.shape[:2], 0, dtype=torch.float64)
    for i in range(x_bld.shape[1]):
        shares = torch.cat([shares * gate_bhl[:, :, i : i + 1], 1 - gate_bhl[:, :, i : i + 1]], -1)
        weighted = (s_bhls[:, :, i, : i + 1] * shares)[:, :, None] / (1 - gate_bhl[:, :, i, None, None])
        total = weighted.sum(-1, keepdim=True)
        rows.append(_divided(weighted @ v[:, :, : i + 1], total, least_denominator(feature)))
    return project(weights, "o_proj", side_by_side(torch.cat(rows, 2)))


def _similarities(
    feature: FeatureMap, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor
) -> tuple[Tensor, Tensor]:
    """Return φ(q_i)·φ(k_j) for all pairs, (B, H, L, L), and the values."""
    q, k, v = (project_heads(site, weights, f"{name}_proj", x_bld, site.heads) for name in "qkv")
    q, k = on_heads(site, weights, q, positions_bl), on_heads(site, weights, k, positions_bl)
    s_bhls: Tensor = reference_of(feature)(feature, site, under(weights, "feature"), q, k)
    return s_bhls, v


def _divided(sums: Tensor, total: Tensor | None, least: float) -> Tensor:
    """Return sums/total, zeros where the total is zero; one smaller than `least` counts as `least` with its sign."""
    if total is None:
        return sums
    total = torch.where(total.abs() < least, total.sign() * least, total)
    return torch.where(total == 0, 0.0, sums / torch.where(total == 0, 1.0, total))
