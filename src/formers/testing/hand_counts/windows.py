"""Mixing among neighbouring tokens."""

from __future__ import annotations

from formers.mixers import AdaptiveSpan, LocalDense, SlidingDense
from formers.part import Site
from formers.testing.hand_counts.count import Count, counted_by_hand, product
from formers.testing.hand_counts.sums import dense_over_all


@counted_by_hand(LocalDense)
def local_dense(part: LocalDense, site: Site, length: int) -> Count:
    """Queries, and all pairs within each window, the ends filled up."""
    d, k, width = site.width, site.width // part.heads, part.window
    before = -part.shift % width
    windows = -(-(before + length) // width)
    if turns(site):
        within = 2 * product(width, width, k) if width < k else product(k, k, width) + product(width, k, k)
    else:
        within = dense_over_all("auto", width, k)
    return product(length, d, d) + windows * part.heads * within


@counted_by_hand(SlidingDense)
def sliding_dense(part: SlidingDense, site: Site, length: int) -> Count:
    """Queries, and blocks of as many queries as the window is wide with all the keys that any of them sees."""
    d, k = site.width, site.width // part.heads
    block = min(part.window, length)
    blocks, keys = -(-length // block), block + part.window - 1
    return product(length, d, d) + 2 * blocks * part.heads * product(block, keys, k)


def turns(site: Site) -> bool:
    """Return whether a position turns queries and keys, so that keys are not the values any more."""
    return site.position is not None and site.position.acts_on == "heads"


@counted_by_hand(AdaptiveSpan)
def adaptive_span(part: AdaptiveSpan, site: Site, length: int) -> Count:
    """Projections; blocks of 128 queries with all keys that any of them may see when spans are as long as they can be.

    More than one block is computed again in the backward pass.
    """
    d, k, heads, block = site.width, site.head_width, site.heads, 128
    groups = site.heads if part.kv_heads is None else part.kv_heads
    span = site.context_length if part.span is None else part.span
    total = 2 * product(length, heads * k, d) + 2 * product(length, groups * k, d)
    if part.dynamic:
        total += product(length, heads, d)
    for start in range(0, length, block):
        stop = min(start + block, length)
        before, behind = min(start, span - 1), 0 if site.causal else min(length - stop, span - 1)
        pairs = (stop - start) * (before + stop - start + behind)
        total += heads * (2 * product(stop - start, pairs // (stop - start), k))
        if length > block:
            total += Count(0, heads * 4 * pairs * k)
    return total
