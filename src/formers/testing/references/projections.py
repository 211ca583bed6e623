"""Queries, keys and values of every head, with the norm on queries and keys where a site asks for one."""

from __future__ import annotations

from torch import Tensor

from formers.norms import Norm
from formers.part import Site
from formers.testing.references.algebra import Weights, heads_of, project, under
from formers.testing.references.registry import reference_of


def project_heads(site: Site, weights: Weights, name: str, x_bld: Tensor, heads: int) -> Tensor:
    """Return W x + b of the layer of this name per head, (B, H, L, K); of q_proj… and k_proj…, after their norm."""
    x_bhlk = heads_of(project(weights, name, x_bld), heads)
    if not isinstance(site.qk_norm, Norm) or name[0] not in "qk":
        return x_bhlk
    normed: Tensor = reference_of(site.qk_norm)(site.qk_norm, site, under(weights, f"{name[0]}_norm"), x_bhlk)
    return normed
