"""References of mixers that read another sequence, the source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from formers.mixers import Linear, Softmax
from formers.part import Part, Site
from formers.testing.references.algebra import Weights, attend, project, shared_heads, side_by_side, under
from formers.testing.references.features import features_of, least_denominator
from formers.testing.references.projections import project_heads


def cross_reference(part: Part, site: Site, weights: Weights, x_bld: Tensor, source_bsd: Tensor) -> Tensor:
    """Return what tokens read in a source of real tokens alone, (B, L, D)."""
    for kind in type(part).__mro__:
        if kind in _REFERENCES:
            return _REFERENCES[kind](part, site, weights, x_bld, source_bsd)
    raise LookupError(f"{part} has the ability cross, but no reference; add one to formers.testing.references.cross")


def _softmax(part: Softmax, site: Site, weights: Weights, x_bld: Tensor, source_bsd: Tensor) -> Tensor:
    """softmax(q_i·k_j/√K) v_j over the source, then the output projection."""
    groups = site.heads if part.kv_heads is None else part.kv_heads
    q = project_heads(site, weights, "q_proj", x_bld, site.heads)
    k, v = (project_heads(site, weights, f"{name}_proj", source_bsd, groups) for name in "kv")
    k, v = shared_heads(k, site.heads), shared_heads(v, site.heads)
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3])
    y = attend(scores, torch.ones_like(scores, dtype=torch.bool), v)
    return project(weights, "o_proj", side_by_side(y))


def _linear(part: Linear, site: Site, weights: Weights, x_bld: Tensor, source_bsd: Tensor) -> Tensor:
    """Σ_j φ(q_i)·φ(k_j) v_j / Σ_j φ(q_i)·φ(k_j) over the source; not divided if not normalised."""
    q = project_heads(site, weights, "q_proj", x_bld, site.heads)
    k, v = (project_heads(site, weights, f"{name}_proj", source_bsd, site.heads) for name in "kv")
    phi_q, phi_k = features_of(part.feature, under(weights, "feature"), q, k)
    s_bhls = torch.einsum("bhim,bhjm->bhij", phi_q, phi_k)
    y = s_bhls @ v
    if part.normalize:
        total, least = s_bhls.sum(-1, keepdim=True), least_denominator(part.feature)
        y = y / torch.where(total.abs() < least, total.sign() * least, total)
    return project(weights, "o_proj", side_by_side(y))


_REFERENCES: dict[type[Part], Callable[[Any, Site, Weights, Tensor, Tensor], Tensor]] = {
    Softmax: _softmax,
    Linear: _linear,
}
