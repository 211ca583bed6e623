"""Mixers with scores of all pairs of tokens; causal ones are counted whole, too."""

from __future__ import annotations

from formers.mixers import Linformer, Metric, Quadratic, Softmax
from formers.part import Site
from formers.testing.hand_counts.count import NOTHING, Count, counted_by_hand, product


@counted_by_hand(Softmax)
def softmax(part: Softmax, site: Site, length: int) -> Count:
    """Q, K, V and output projections; QKᵀ and its product with V."""
    d, k = site.width, site.head_width
    kv_heads = site.heads if part.kv_heads is None else part.kv_heads
    projections = 2 * product(length, site.heads * k, d) + 2 * product(length, kv_heads * k, d)
    return projections + 2 * site.heads * product(length, length, k)


@counted_by_hand(Quadratic)
def quadratic(part: Quadratic, site: Site, length: int) -> Count:
    """x U per head, V and output projections; (x U) xᵀ over D features, and values that are filled up to as many."""
    d, heads = site.width, site.heads
    projections = product(length, heads * d, d) + 2 * product(length, d, d)
    return projections + 2 * heads * product(length, length, d)


@counted_by_hand(Metric)
def metric(part: Metric, site: Site, length: int) -> Count:
    """One projection and the output's; p M, (p M) pᵀ and its product with p; AᵀA where M is positive."""
    d, k, heads = site.width, site.head_width, site.heads
    of_metric = heads * product(k, k, k) if part.positive else NOTHING
    scores = heads * product(length, k, k) + 2 * heads * product(length, length, k)
    return 2 * product(length, d, d) + scores + of_metric


@counted_by_hand(Linformer)
def linformer(part: Linformer, site: Site, length: int) -> Count:
    """Projections; E K and F V where these are matrices; scores of all queries and the shortened keys."""
    d, k, heads = site.width, site.head_width, site.heads
    if part.kind == "learned":
        keys, shortening = part.length, 2 * heads * product(part.length, k, length)
    else:
        window = -(-site.context_length // part.length)
        keys, shortening = -(-length // window), NOTHING
    return 4 * product(length, heads * k, d) + shortening + 2 * heads * product(length, keys, k)
