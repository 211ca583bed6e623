"""Mixers without scores: a Fourier transform, and those that only add."""

from __future__ import annotations

import math

from formers.mixers import Fourier, Identity, Pool
from formers.ops.token_mixing import MATMUL_UP_TO
from formers.part import Site
from formers.testing.hand_counts.count import NOTHING, Count, counted_by_hand, product


@counted_by_hand(Identity, Pool)
def nothing(part: Identity | Pool, site: Site, length: int) -> Count:
    """No product."""
    return NOTHING


@counted_by_hand(Fourier)
def fourier(part: Fourier, site: Site, length: int) -> Count:
    """Cosines and sines along either axis as products while short, then a real transform; its own gradient."""
    d = site.width
    if length * d * (length + d) <= MATMUL_UP_TO:
        return 2 * (product(length, d, d, gradients=1) + product(length, d, length, gradients=1))
    once = int(2.5 * length * d * (math.log2(length) + math.log2(d)))
    return Count(once, once)
