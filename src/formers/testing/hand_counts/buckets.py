"""Attention among tokens of one bucket or cluster, which are no more than a chunk apart.

Sorted tokens lie in tiles of T, each compared with itself and the one before, all heads in one run.
"""

from __future__ import annotations

import math

from formers.mixers import Lsh, Routing
from formers.part import Site
from formers.testing.hand_counts.count import NOTHING, Count, attention_over, counted_by_hand, product


@counted_by_hand(Lsh)
def lsh(part: Lsh, site: Site, length: int) -> Count:
    """Projections of queries, values and outputs; a product with the directions of all rounds; tiles in each round."""
    d, k = site.width, site.head_width
    directions = part.rounds * sum(part.factors(site.context_length)) // 2
    hashes = site.heads * product(length, directions, k, gradients=0)
    tiled = part.rounds * _tiled(site.heads, length, part.chunk, k)
    return 3 * product(length, d, d) + hashes + tiled


@counted_by_hand(Routing)
def routing(part: Routing, site: Site, length: int) -> Count:
    """Local heads in tiles of one bucket; in the others, similarities to the centroids and tiles, or clusters."""
    d, k, heads = site.width, site.head_width, site.heads
    clusters = part.clusters or max(round(math.sqrt(site.context_length)), 1)
    window = part.window or math.ceil(site.context_length / clusters)
    local = heads // 2 if part.local_heads is None else part.local_heads
    local = heads if part.top is not None and site.layer < site.layers - part.top else local
    far, own_keys = heads - local, local
    near = _tiled(local, length, window, k) if local else NOTHING
    routed = NOTHING
    if far and part.select == "nearest":
        routed = far * product(length, clusters, k, gradients=0) + _tiled(far, length, window, k)
    elif far:
        picked = min(window, length)
        own_keys = local if site.causal else heads
        routed = 2 * far * (product(length, clusters, k, gradients=0) + clusters * product(picked, picked, k))
    return 3 * product(length, d, d) + product(length, own_keys * k, d) + near + routed


def _tiled(heads: int, length: int, chunk: int, width: int) -> Count:
    """Return the count of one round: the run of all heads' tiles, an empty one in front of each but the first."""
    tile = min(chunk, length)
    tiles = heads * (math.ceil(length / tile) + 1) - 1
    return attention_over(tiles * tile * 2 * tile, width, width)
