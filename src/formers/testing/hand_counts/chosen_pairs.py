"""Attention over the pairs of a pattern.

A kernel that gathers keys computes more pairs than there are: blocks of queries see all keys that any of them sees. How
many is what the block lists say; it is held to the pattern's own pairs, which the references enumerate.
"""

from __future__ import annotations

from typing import Any

from formers.mixers import BigBird, BlockwiseAttention, Etc, ImageLocal, Longformer, Sparse, SparseTransformer
from formers.ops.sparse_attention import block_lists
from formers.part import Site
from formers.patterns import Pattern
from formers.testing.hand_counts.count import NOTHING, Count, attention_over, counted_by_hand, product
from formers.testing.references.patterns import pairs


@counted_by_hand(Sparse, BigBird, SparseTransformer, ImageLocal, BlockwiseAttention)
def sparse(part: Any, site: Site, length: int) -> Count:
    """Projections, and the pairs of the pattern that each head has."""
    kv_heads = getattr(part, "kv_heads", None) or site.heads
    projections = 2 * product(length, site.heads * site.head_width, site.width)
    projections += 2 * product(length, kv_heads * site.head_width, site.width)
    return projections + _over(part.patterns(site), site, length)


@counted_by_hand(Longformer)
def longformer(part: Longformer, site: Site, length: int) -> Count:
    """Bidirectional, the global tokens besides: projections of all tokens, or few enough folded into the queries."""
    there = len({token for token in part.tokens if token < length})
    if site.causal or not there:
        return sparse(part, site, length)
    d, k, heads = site.width, site.head_width, site.heads
    turned = site.position is not None and site.position.acts_on in ("heads", "scores")
    placed = turned or site.qk_norm is not None
    if 2 * heads * there <= d and not placed:
        seen = 2 * heads * (product(there, d, k) + product(there, length, d))
        seen += heads * product(there, 1, k) if part.bias else NOTHING  # of queries with the bias of the keys
    else:
        seen = 2 * product(length, heads * k, d) + 2 * heads * product(there, length, k)
    return sparse(part, site, length) + product(there, heads * k, d) + seen


@counted_by_hand(Etc)
def etc(part: Etc, site: Site, length: int) -> Count:
    """The labels besides: a product of queries with a vector for each."""
    across = 1 if part.segment is None else 2
    labels = 2 * (2 * part.clip + 1) + 2 * across
    return sparse(part, site, length) + site.heads * product(length, labels, site.head_width)


def _over(patterns: tuple[Pattern, ...], site: Site, length: int) -> Count:
    """Return the count of scores and sums over the pairs that are computed for every head."""
    wanted = pairs(patterns, site.heads, length, site.causal, site.layer).expand(site.heads, length, length)
    total = NOTHING
    for head in range(site.heads):
        one = patterns[head % len(patterns)].resolve(length=length, causal=site.causal)
        computed, needed = block_lists(one, length, length).computed, int(wanted[head].sum())
        if not needed <= computed:
            raise AssertionError(f"head {head} computes {computed} pairs, but sees {needed} pairs of {one}")
        total += attention_over(computed, site.head_width, site.head_width)
    return total
