"""References of the mixers in which every token looks at every token that it may see."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from formers.mixers import AdaptiveSpan, Metric, Quadratic, Softmax
from formers.part import Site
from formers.testing.references.algebra import (
    Weights,
    attend,
    everything,
    heads_of,
    project,
    shared_heads,
    side_by_side,
)
from formers.testing.references.positions import on_heads, on_layer, related
from formers.testing.references.projections import project_heads
from formers.testing.references.registry import reference


@reference(Softmax)
def softmax(part: Softmax, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """softmax(q_i·k_j/√K + bias) v_j, then the output projection."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    groups = site.heads if part.kv_heads is None else part.kv_heads
    q = on_heads(site, weights, project_heads(site, weights, "q_proj", x_bld, site.heads), positions_bl)
    k = on_heads(site, weights, project_heads(site, weights, "k_proj", x_bld, groups), positions_bl)
    v = project_heads(site, weights, "v_proj", x_bld, groups)
    k, v = shared_heads(k, site.heads), shared_heads(v, site.heads)
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3])
    scores, more = related(site, weights, scores, q, k, positions_bl)
    y = attend(scores, everything(x_bld.shape[1], site.causal), v, more)
    return project(weights, "o_proj", side_by_side(y))


@reference(AdaptiveSpan)
def adaptive_span(part: AdaptiveSpan, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """Σ_j w_ij v_j / Σ_j w_ij, w_ij = m(|i − j|) exp(q_i·k_j/√K + bias) for |i − j| < S, m(x) = clip((R + z − x)/R)."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    groups = site.heads if part.kv_heads is None else part.kv_heads
    q = on_heads(site, weights, project_heads(site, weights, "q_proj", x_bld, site.heads), positions_bl)
    k = on_heads(site, weights, project_heads(site, weights, "k_proj", x_bld, groups), positions_bl)
    v = shared_heads(project_heads(site, weights, "v_proj", x_bld, groups), site.heads)
    k = shared_heads(k, site.heads)
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3])
    scores, more = related(site, weights, scores, q, k, positions_bl)
    length = x_bld.shape[1]
    i = torch.arange(length)
    distance = (i[:, None] - i[None, :]).abs()
    span = site.context_length if part.span is None else part.span
    if part.dynamic:
        z_bhi1 = span / (1 + torch.exp(-project(weights, "span_proj", x_bld))).transpose(1, 2)[..., None]
    else:
        share = torch.remainder(weights["share_h"], 2)
        z_bhi1 = span * torch.minimum(share, 2 - share)[None, :, None, None]
    m_bhij = ((part.ramp + z_bhi1 - distance) / part.ramp).clamp(0, 1)
    seen = everything(length, site.causal) & (distance < span)
    largest = torch.where(seen, scores, -torch.inf).amax(-1, keepdim=True).detach()
    w_bhij = m_bhij * torch.where(seen, scores - largest, -torch.inf).exp()
    w_bhij = w_bhij / w_bhij.sum(-1, keepdim=True)
    y = w_bhij @ v
    if more is not None:
        y = y + torch.einsum("bhij,bijv->bhiv", w_bhij, more.expand(len(y), -1, -1, -1))
    return project(weights, "o_proj", side_by_side(y))


@reference(Quadratic)
def quadratic(part: Quadratic, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """softmax(x_i U_h x_jᵀ/√D + bias) v_j: U_h are the rows of head h in q_proj; a position turns the whole width."""
    x_bld, one = on_layer(site, weights, x_bld, positions_bl), site.with_heads(1)
    q = on_heads(one, weights, heads_of(project(weights, "q_proj", x_bld), site.heads), positions_bl)
    k = on_heads(one, weights, x_bld[:, None], positions_bl)[:, 0]
    v = project_heads(site, weights, "v_proj", x_bld, site.heads)
    scores = torch.einsum("bhid,bjd->bhij", q, k) / math.sqrt(site.width)
    scores, _ = related(replace(site, key_width=site.width), weights, scores, q, k[:, None].expand_as(q), positions_bl)
    y = attend(scores, everything(x_bld.shape[1], site.causal), v)
    return project(weights, "o_proj", side_by_side(y))


@reference(Metric)
def metric(part: Metric, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """softmax(p_iᵀ M p_j/√K + bias) p_j; a position turns p in the scores, and not as values."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    p = heads_of(project(weights, "p_proj", x_bld), site.heads)
    turned = on_heads(site, weights, p, positions_bl)
    m_hkk = _metric_of(part, weights["triangle_ht"], p.shape[3])
    scores = torch.einsum("bhik,hkl,bhjl->bhij", turned, m_hkk, turned) / math.sqrt(p.shape[3])
    q = torch.einsum("bhik,hkl->bhil", turned, m_hkk)
    scores, more = related(site, weights, scores, q, turned, positions_bl)
    y = attend(scores, everything(x_bld.shape[1], site.causal), p, more)
    return project(weights, "o_proj", side_by_side(y))


def _metric_of(part: Metric, triangle_ht: Tensor, width: int) -> Tensor:
    """Return M = I + T, T symmetric with this upper triangle, row after row; or M = AᵀA + ε·I, A = I + the triangle."""
    places = [(k, j) for k in range(width) for j in range(k, width)]
    upper = [torch.zeros(len(triangle_ht), dtype=torch.float64) for _ in range(width * width)]
    for t, (k, j) in enumerate(places):
        upper[k * width + j] = triangle_ht[:, t]
    u_hkk = torch.stack(upper, -1).view(-1, width, width)
    eye = torch.eye(width, dtype=torch.float64)
    if part.positive:
        a_hkk = eye + u_hkk
        return torch.einsum("hkl,hkm->hlm", a_hkk, a_hkk) + part.eps * eye
    return eye + u_hkk + u_hkk.transpose(1, 2) - u_hkk * eye
