"""Mixers that sum products of keys and values instead of looking at each.

A causal sequence is cut into N equal chunks of C ≤ 64 tokens: scores inside, sums between. One that starts here
and fits into a chunk has scores only. Without causality there are sums only. The state is always made.
"""

from __future__ import annotations

import math

from formers.mixers import (
    ArcCosine,
    Dense,
    Favor,
    FeatureMap,
    Hedgehog,
    Linear,
    Performer,
    RandomFourier,
    Rfa,
    T2r,
    Taylor2,
    WindowedLinear,
)
from formers.ops.linear_attention import CHUNK, SCORES_TO, STATE_FROM
from formers.part import Site
from formers.testing.hand_counts.count import NOTHING, Count, counted_by_hand, product


@counted_by_hand(Dense)
def dense(part: Dense, site: Site, length: int) -> Count:
    """Queries; then linear attention whose M = V = K features are the tokens, without a normaliser."""
    d, k = site.width, site.width // part.heads
    turned = site.position is not None and site.position.acts_on == "heads"
    if site.causal:
        mixed = causal_sums(length, k, k, normalize=False)
    elif turned:
        mixed = sums_over_all(length, k, k, normalize=False)
    else:
        mixed = dense_over_all(part.order, length, k)
    return product(length, d, d) + part.heads * mixed


@counted_by_hand(Linear)
def linear(part: Linear, site: Site, length: int) -> Count:
    """Projections, features, and sums; scores where the kernel is known and tokens are fewer than features.

    Where features are turned, sums without a normaliser, and the totals as sums of values that are all 1.
    """
    d, k, heads = site.width, site.head_width, site.heads
    features = part.feature.count(k)
    projections = 4 * product(length, heads * k, d)
    turned = part.turned == "features" and site.position is not None and site.position.acts_on == "heads"
    if isinstance(part.feature, Taylor2) and length < features and not turned:
        return projections + 2 * heads * product(length, length, k)
    faded = part.feature.exponential and site.causal
    mix = causal_sums if site.causal else sums_over_all
    mixed = mix(length, features, k, normalize=part.normalize and not turned, faded=faded)
    if turned and part.normalize:
        mixed = mixed + mix(length, features, 1, normalize=False, faded=faded, constant=True)
    return projections + heads * (features_of(part.feature, length, k) + mixed)


@counted_by_hand(WindowedLinear)
def windowed_linear(part: WindowedLinear, site: Site, length: int) -> Count:
    """Projections; pieces of 64 tokens, each with the keys that are near to any of it, and with the sums before them.

    The sums after the last piece are made, and nothing reads them here.
    """
    d, k, heads, m = site.width, site.head_width, site.heads, part.feature.count(site.head_width)
    groups = site.heads if part.kv_heads is None else part.kv_heads
    total = 2 * product(length, heads * k, d) + 2 * product(length, groups * k, d)
    for start in range(0, length, 64):
        n = min(64, length - start)
        keys = n + (part.window - 1 + part.sinks if start else 0)
        scores = product(n, keys, k) + product(n, keys, m) + product(n, k, keys)
        before = product(n, k, m) + product(n, 1, m) if start else NOTHING
        after = product(m, k, keys, gradients=2 if start + n < length else 0)
        total += heads * (scores + before + after + _features_of_some(part.feature, n, keys, k))
    return total


def _features_of_some(feature: FeatureMap, queries: int, keys: int, width: int) -> Count:
    """Return the count of features of other numbers of queries and keys."""
    each = features_of(feature, 1, width)
    return Count((queries + keys) * each.forward // 2, (queries + keys) * each.backward // 2)


@counted_by_hand(Performer)
def performer(part: Performer, site: Site, length: int) -> Count:
    """Linear attention with these features."""
    return linear(part.linear(), site, length)


@counted_by_hand(Rfa)
def rfa(part: Rfa, site: Site, length: int) -> Count:
    """Linear attention with these features; with a gate, one number per head and token, and sums that fade."""
    same = part.linear()
    if not part.gate:
        return linear(same, site, length)
    d, k, heads = site.width, site.head_width, site.heads
    mixed = causal_sums(length, same.feature.count(k), k, normalize=True, faded=True)
    projections = 4 * product(length, heads * k, d) + product(length, heads, d)
    return projections + heads * (features_of(same.feature, length, k) + mixed)


def features_of(feature: FeatureMap, length: int, width: int) -> Count:
    """Return the count of queries' and keys' features: products with weights, or directions that get no gradient."""
    count = feature.count(width)
    if isinstance(feature, Hedgehog):
        return 2 * product(length, width, width)
    if isinstance(feature, T2r):
        return 2 * product(length, count, width)
    if isinstance(feature, Favor) and feature.exponential:  # and the largest exponent of each key, without a gradient
        return 2 * product(length, count, width, gradients=1) + product(length, count, width, gradients=0)
    if isinstance(feature, RandomFourier) or (isinstance(feature, Favor) and feature.kind == "trigonometric"):
        return 2 * product(length, count // 2, width, gradients=1)  # a sine and a cosine of each direction
    if isinstance(feature, (Favor, ArcCosine)):
        return 2 * product(length, count, width, gradients=1)
    return NOTHING


def dense_over_all(order: str, length: int, k: int) -> Count:
    """Return the count of (q xᵀ) x, or of q (xᵀ x), which a short sequence makes beside it as its state."""
    if order == "scores" or (order == "auto" and length < STATE_FROM * k):
        return 2 * product(length, length, k) + product(k, k, length, gradients=0)
    return sums_over_all(length, k, k, normalize=False)


def sums_over_all(
    length: int, m: int, v: int, *, normalize: bool, faded: bool = False, constant: bool = False
) -> Count:
    """Return the count of kᵀ v, q (kᵀ v), and q·Σ k; `constant` values get no gradient; `faded` is for causal sums."""
    denominators = product(1, length, m) if normalize else NOTHING
    return product(m, v, length, gradients=2 - constant) + product(length, v, m) + denominators


def causal_sums(length: int, m: int, v: int, *, normalize: bool, faded: bool = False, constant: bool = False) -> Count:
    """Return the count of causal linear attention from its start; `faded` where sums decay from token to token.

    `constant` values get no gradient; of chunks it is made all the same.
    """
    if length <= 1:
        return sums_over_all(length, m, v, normalize=normalize, constant=constant)
    if length <= SCORES_TO and not faded:  # and the state, which nothing later reads here
        weighted = product(length, v, length, gradients=2 - constant)
        return product(length, length, m) + weighted + product(m, v, length, gradients=0)
    chunks = math.ceil(length / CHUNK)
    return chunks * _chunk(math.ceil(length / chunks), m, v, normalize=normalize, faded=faded)


def _chunk(c: int, m: int, v: int, *, normalize: bool, faded: bool) -> Count:
    """Return the count of a chunk of c tokens; its backward pass makes scores, states and denominators again.

    forward: q kᵀ, kᵀ v, q S, P v; Σ k, q·z. backward: q kᵀ, kᵀ v, Σ k, q·z; G Sᵀ, G vᵀ, qᵀ G, k R, Pᵀ G, v Rᵀ, T k,
    Tᵀ q; Σ e q. The gradient of decays adds the sums of C² pairs over earlier keys, S·R and z·r.
    """
    pairs_m, pairs_v, state, column = 2 * c * c * m, 2 * c * c * v, 2 * c * m * v, 2 * c * m
    forward, backward = pairs_m + pairs_v + 2 * state, 3 * pairs_m + 2 * pairs_v + 5 * state
    if normalize:
        forward, backward = forward + 2 * column, backward + 3 * column
    if faded:
        backward += 2 * c**3 + 2 * m * v + (2 * m if normalize else 0)
    return Count(forward, backward)
