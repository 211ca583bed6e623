"""References of attention over chosen pairs: softmax over exactly the pairs of a pattern."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from formers.mixers import BigBird, BlockwiseAttention, Etc, ImageLocal, Longformer, Sparse, SparseTransformer
from formers.part import Site
from formers.patterns import (
    Blockwise,
    Edges,
    Either,
    Ends,
    EtcPattern,
    Fixed,
    Global,
    Neighbours,
    Pattern,
    Random,
    Strided,
    Window,
)
from formers.testing.references.algebra import (
    Weights,
    attend,
    everything,
    project,
    shared_heads,
    side_by_side,
)
from formers.testing.references.patterns import pairs
from formers.testing.references.positions import on_heads, on_layer, related
from formers.testing.references.projections import project_heads
from formers.testing.references.registry import reference


class _Scored(NamedTuple):
    """Queries (B, H, L, K), values (B, H, L, K), and the scores of all pairs (B, H, L, L)."""

    q: Tensor
    v: Tensor
    scores: Tensor


@reference(Sparse)
def sparse(part: Sparse, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """softmax(q_i·k_j/√K + bias) v_j over the pairs of the pattern, or of the heads' patterns in turn."""
    return _over(part.per_head or (part.pattern,), site, weights, x_bld, positions_bl, part.kv_heads)


@reference(SparseTransformer)
def sparse_transformer(
    part: SparseTransformer, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor
) -> Tensor:
    """The local factor and the columns in turn over the heads, or over the layers, or both in every head.

    With `distinct`, heads with columns take the groups of c tokens of a block in turn.
    """
    patterns: list[Pattern] = []
    with_columns = 0
    for head in range(site.heads):
        has_columns = head % 2 == 1 if part.factors == "heads" and site.heads > 1 else site.layer % 2 == 1
        local, columns = _factors(part.pattern, with_columns if part.distinct else None)
        if part.factors == "merged":
            patterns.append(Either(local, columns))
        else:
            patterns.append(columns if has_columns else local)
        with_columns += part.factors == "merged" or has_columns
    return _over(tuple(patterns), site, weights, x_bld, positions_bl)


def _factors(pattern: Pattern, turn: int | None) -> tuple[Pattern, Pattern]:
    """Return the local factor and the columns of a strided or a fixed pattern, with this head's tokens of a block."""
    if isinstance(pattern, Strided):
        return Strided(pattern.stride, "local"), Strided(pattern.stride, "columns")
    assert isinstance(pattern, Fixed)
    group = pattern.group if turn is None else turn % (pattern.block // pattern.summary)
    local = Fixed(pattern.block, pattern.summary, "local")
    return local, Fixed(pattern.block, pattern.summary, "columns", group)


@reference(ImageLocal)
def image_local(part: ImageLocal, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """Attention over the blocks of an image."""
    return _over((part.pattern,), site, weights, x_bld, positions_bl)


@reference(BlockwiseAttention)
def blockwise_attention(
    part: BlockwiseAttention, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor
) -> Tensor:
    """The last heads, all but one at most, take the cyclic permutations by 1 … n − 1, `shifted` heads each."""
    n = part.blocks
    shifts = [1 + turn // part.shifted for turn in range((n - 1) * part.shifted)][: site.heads - 1]
    turns = [0] * (site.heads - len(shifts)) + shifts
    patterns = tuple(Blockwise(tuple((block + turn) % n for block in range(n))) for turn in turns)
    return _over(patterns, site, weights, x_bld, positions_bl)


@reference(BigBird)
def bigbird(part: BigBird, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """Blocks at most `radius` apart, the first and last block (or first tokens) with everything, and random blocks."""
    anchored = Edges(part.block) if part.first is None else Ends(part.first)
    pattern = Either(Neighbours(part.block, part.radius), anchored)
    if not part.random:
        return _over((pattern,), site, weights, x_bld, positions_bl)
    heads = range(site.heads if part.per_head else 1)
    drawn = tuple(Either(pattern, Random(part.random, part.seed, part.block, head=h)) for h in heads)
    return _over(drawn, site, weights, x_bld, positions_bl)


@reference(Longformer)
def longformer(part: Longformer, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """A window and the global tokens; bidirectional, these see everything with projections of their own."""
    groups = len(part.window)
    width = part.window[site.layer * groups // max(site.layers, groups)]
    patterns: tuple[Pattern, ...] = tuple(Window(width, dilation) for dilation in part.dilation[: site.heads])
    if not part.tokens:
        return _over(patterns, site, weights, x_bld, positions_bl)
    patterns = tuple(Either(pattern, Global(part.tokens)) for pattern in patterns)
    if site.causal:
        return _over(patterns, site, weights, x_bld, positions_bl)
    length = x_bld.shape[1]
    near, far = (_scored(site, weights, x_bld, positions_bl, suffix=suffix) for suffix in ("", "_global"))
    y_near = attend(near.scores, pairs(patterns, site.heads, length, False, site.layer), near.v)
    y_far = attend(far.scores, everything(length, False), far.v)
    is_global = torch.tensor([i in part.tokens for i in range(length)])
    return project(weights, "o_proj", side_by_side(torch.where(is_global[:, None], y_far, y_near)))


@reference(Etc)
def etc(part: Etc, site: Site, weights: Weights, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
    """softmax(q_i·(k_j + a_ℓ)/√K + bias) v_j, ℓ(i, j) the label of the pair."""
    length = x_bld.shape[1]
    one = _scored(site, weights, x_bld, positions_bl)
    label = torch.tensor([[_label(part, i, j) for j in range(length)] for i in range(length)])
    a_hkij = weights["labels.key_hkc"][:, :, label]
    scores = one.scores + torch.einsum("bhik,hkij->bhij", one.q, a_hkij) / math.sqrt(one.q.shape[3])
    pattern = EtcPattern(part.tokens, part.radius, part.segment if part.hard else None)
    seen = pairs((pattern,), site.heads, length, False, site.layer)
    return project(weights, "o_proj", side_by_side(attend(scores, seen, one.v)))


def _label(part: Etc, i: int, j: int) -> int:
    """Return the label of a pair: clipped distances in the long input, in the global one, then across, both ways."""
    distances = 2 * part.clip + 1
    across = 1 if part.segment is None else 2
    if (i < part.tokens) == (j < part.tokens):
        near = min(max(j - i, -part.clip), part.clip) + part.clip
        return near + (distances if j < part.tokens else 0)
    of_global, of_long = min(i, j), max(i, j) - part.tokens
    own = part.segment is not None and of_long // part.segment == of_global
    return 2 * distances + (0 if i < part.tokens else across) + int(own)


def _over(
    patterns: tuple[Pattern, ...],
    site: Site,
    weights: Weights,
    x_bld: Tensor,
    positions_bl: Tensor,
    kv_heads: int | None = None,
) -> Tensor:
    """Return attention over the pairs of these patterns, which the heads take in turn."""
    one = _scored(site, weights, x_bld, positions_bl, kv_heads)
    seen = pairs(patterns, site.heads, x_bld.shape[1], site.causal, site.layer)
    return project(weights, "o_proj", side_by_side(attend(one.scores, seen, one.v)))


def _scored(
    site: Site,
    weights: Weights,
    x_bld: Tensor,
    positions_bl: Tensor,
    kv_heads: int | None = None,
    suffix: str = "",
) -> _Scored:
    """Return queries, values and the scores q_i·k_j/√K + bias of all pairs, by the projections with this ending."""
    x_bld = on_layer(site, weights, x_bld, positions_bl)
    groups = site.heads if kv_heads is None else kv_heads
    q = on_heads(site, weights, project_heads(site, weights, f"q_proj{suffix}", x_bld, site.heads), positions_bl)
    k = on_heads(site, weights, project_heads(site, weights, f"k_proj{suffix}", x_bld, groups), positions_bl)
    k = shared_heads(k, site.heads)
    v = shared_heads(project_heads(site, weights, f"v_proj{suffix}", x_bld, groups), site.heads)
    scores = torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[3])
    return _Scored(q, v, related(site, weights, scores, q, k, positions_bl).scores)
