"""References of patterns: whether query i sees key j, pair by pair, from the published definitions.

Each is `(part, i, j, length, causal, layer)` → bool for i and j counted from 0 among `length` tokens. What causality
leaves out, j > i, is left out of all of them in `pairs`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from formers.patterns import (
    Blockwise,
    Both,
    Causal,
    Chunk,
    Columns,
    Edges,
    Either,
    Ends,
    EtcPattern,
    Every,
    Fixed,
    Global,
    Listed,
    Local1D,
    Local2D,
    Neighbours,
    Outside,
    Pattern,
    Random,
    Sinks,
    Span,
    Strided,
    Summaries,
    Window,
)
from formers.testing.references.registry import reference, reference_of


def pairs(patterns: tuple[Pattern, ...], heads: int, length: int, causal: bool, layer: int) -> Tensor:
    """Return which pairs each head sees, (H, L, L) bool; the heads take the patterns in turn."""
    return torch.stack([_seen(patterns[h % len(patterns)], length, causal, layer) for h in range(heads)])


@cache
def _seen(pattern: Pattern, length: int, causal: bool, layer: int) -> Tensor:
    """Return the pairs of one pattern, (L, L) bool."""
    sees = reference_of(pattern)

    def one(i: int, j: int) -> bool:
        return bool(sees(pattern, i, j, length, causal, layer)) and (j <= i or not causal)

    return torch.tensor([[one(i, j) for j in range(length)] for i in range(length)]).view(length, length)


@reference(Every)
def every(part: Every, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """All pairs."""
    return True


@reference(Causal)
def only_the_past(part: Causal, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """j ≤ i."""
    return j <= i


@reference(Span)
def span(part: Span, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """i − behind·d ≤ j ≤ i + ahead·d, (i − j) mod d = 0."""
    d = part.dilation
    return i - part.behind * d <= j <= i + part.ahead * d and (i - j) % d == 0


@reference(Window)
def window(part: Window, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """|i − j| ≤ w·d, (i − j) mod d = 0; causal: i − w·d < j."""
    reach = part.width * part.dilation
    return (i - reach < j if causal else abs(i - j) <= reach) and (i - j) % part.dilation == 0


@reference(Chunk)
def chunk(part: Chunk, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """One chunk of `width` tokens, the boundaries moved by the shift."""
    return (i - part.shift) // part.width == (j - part.shift) // part.width


@reference(Local1D)
def local1d(part: Local1D, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """j in the block of i or among the `memory_width` tokens before that block."""
    first = i - i % part.block
    return first - part.memory_width <= j < first + part.block


@reference(Local2D)
def local2d(part: Local2D, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """j in the rectangle of i, or within `halo` above, left and right of it, down to its last row."""
    (row_i, column_i), (row_j, column_j) = _pixel(part, i), _pixel(part, j)
    top, left = row_i - row_i % part.block, column_i - column_i % part.block
    inside_rows = top - part.halo <= row_j < top + part.block
    return inside_rows and left - part.halo <= column_j < left + part.block + part.halo


def _pixel(part: Local2D, token: int) -> tuple[int, int]:
    """Return row and column of a token: row after row, or rectangle after rectangle, and in each row after row."""
    if part.order == "raster":
        return divmod(token, part.width)
    size, across = part.block, part.width // part.block
    order = [(r, c) for r in range(part.height // size) for c in range(across)]
    (row, column), inside = order[token // size**2], divmod(token % size**2, size)
    return row * size + inside[0], column * size + inside[1]


@reference(Strided)
def strided(part: Strided, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """A¹: |i − j| ≤ l; A²: (i − j) mod l = 0; merged: either."""
    local, columns = abs(i - j) <= part.stride, (i - j) % part.stride == 0
    return {"local": local, "columns": columns, "merged": local or columns}[part.factor]


@reference(Fixed)
def fixed(part: Fixed, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """A¹: ⌊j/l⌋ = ⌊i/l⌋; A²: j mod l ∈ {l − c, …, l − 1}, or the g-th c before these; merged: either."""
    local = i // part.block == j // part.block
    columns = (part.block - 1 - j % part.block) // part.summary == part.group
    return {"local": local, "columns": columns, "merged": local or columns}[part.factor]


@reference(Columns)
def columns(part: Columns, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """(i − j) mod l = 0."""
    return (i - j) % part.stride == 0


@reference(Summaries)
def summaries(part: Summaries, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """j among the last c tokens of its block, or among the g-th c before these."""
    return (part.block - 1 - j % part.block) // part.summary == part.group


@reference(Blockwise)
def blockwise(part: Blockwise, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """Of n blocks of ⌈L/n⌉ tokens: that of j is the one that the permutation gives for that of i."""
    size = -(-length // len(part.permutation))
    return j // size == part.permutation[i // size]


@reference(Listed)
def listed(part: Listed, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """The block of j is in the list of the block of i."""
    query_block = i // part.block
    return query_block < len(part.rows) and j // part.block in part.rows[query_block]


@reference(Neighbours)
def neighbours(part: Neighbours, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """Blocks at most `radius` apart."""
    return abs(i // part.block - j // part.block) <= part.radius


@reference(Edges)
def edges(part: Edges, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """i or j in the first or the last block; causal: in the first."""
    ends = {0} if causal else {0, (length - 1) // part.block}
    return i // part.block in ends or j // part.block in ends


@reference(Ends)
def ends(part: Ends, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """i or j before `first` or from `last` on."""
    last = length if part.last is None else part.last
    return any(token < part.first or token >= last for token in (i, j))


@reference(Random)
def random(part: Random, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """The block of j is among those drawn for the block of i, out of all blocks; causal: out of those up to its own."""
    own, count = i // part.block, -(-length // part.block)
    return j // part.block in _drawn(part, own + 1 if causal else count, own, layer)


@cache
def _drawn(part: Random, count: int, own: int, layer: int) -> tuple[int, ...]:
    """Return the blocks drawn for one: no formula and no saved tensor holds them, so the part is asked."""
    return replace(part, layer=layer).drawn(count, own)


@reference(Global)
def global_tokens(part: Global, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """i or j is one of the tokens."""
    named = (part.index,) if isinstance(part.index, int) else part.index
    return i in named or j in named


@reference(EtcPattern)
def etc(part: EtcPattern, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """i or j in the global input, or both in the long one and |i − j| ≤ radius; a global i sees its own segment."""
    if i < part.tokens <= j and part.segment is not None:
        return (j - part.tokens) // part.segment == i
    return i < part.tokens or j < part.tokens or abs(i - j) <= part.radius


@reference(Sinks)
def sinks(part: Sinks, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """j among the first tokens."""
    return j < part.count


@reference(Both)
def both(part: Both, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """In a and in b."""
    return all(reference_of(side)(side, i, j, length, causal, layer) for side in (part.a, part.b))


@reference(Either)
def either(part: Either, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """In a or in b."""
    return any(reference_of(side)(side, i, j, length, causal, layer) for side in (part.a, part.b))


@reference(Outside)
def outside(part: Outside, i: int, j: int, length: int, causal: bool, layer: int) -> bool:
    """Not in `of`."""
    return not reference_of(part.of)(part.of, i, j, length, causal, layer)
