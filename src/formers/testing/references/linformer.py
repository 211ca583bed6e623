"""Reference of Linformer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from formers.mixers import Linformer
from formers.part import Site
from formers.testing.references.algebra import Weights, project, side_by_side
from formers.testing.references.positions import on_heads, on_layer
from formers.testing.references.projections import project_heads
from formers.testing.references.registry import reference


@reference(Linformer)
def linformer(part: Linformer, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """softmax(Q (E K)ᵀ/√K) (F V): E and F shorten keys and values along the sequence."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    q, k, v = (project_heads(site, weights, f"{name}_proj", x_bld, site.heads) for name in "qkv")
    q, k = on_heads(site, weights, q, positions_bl), on_heads(site, weights, k, positions_bl)
    shared = part.share in ("kv", "layerwise")  # one projection for both
    k = _shortened(part, site, weights, "key_length", k)
    v = _shortened(part, site, weights, "key_length" if shared else "value_length", v)
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3])
    return project(weights, "o_proj", side_by_side(scores.softmax(-1) @ v))


def _shortened(part: Linformer, site: Site, weights: Weights, name: str, x_bhlk: Tensor) -> Tensor:
    """Return E x: by the first columns of a learned E, or by windows of ⌈context_length/length⌉ tokens."""
    length = x_bhlk.shape[2]
    if part.kind == "learned":
        e_gnl = weights[f"{name}.weight"].expand(site.heads, -1, -1)
        return torch.stack([e_gnl[h, :, :length] @ x_bhlk[:, h] for h in range(site.heads)], 1)
    size = -(-site.context_length // part.length)
    windows = [x_bhlk[:, :, start : start + size] for start in range(0, length, size)]
    if part.kind == "mean":
        return torch.stack([window.sum(2) / window.shape[2] for window in windows], 2)
    if part.kind == "max":
        return torch.stack([window.amax(2) for window in windows], 2)
    w_gsk = weights[f"{name}.weight"][:, 0]  # (1 or H, size, K)
    return torch.stack([(window * w_gsk[:, : window.shape[2]]).sum(2) for window in windows], 2)
