"""DenseAttention among neighbouring tokens."""

from __future__ import annotations

from formers.mixers import LocalDense, SlidingDense
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
