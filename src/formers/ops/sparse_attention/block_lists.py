"""A pattern as lists of the keys that each block of queries gathers, derived block by block, never as an L×S mask.

Queries are taken in blocks of `block`. For every block the pattern is asked for bounds on blocks of keys, and for the
mask only where these leave it open; what remains is a list of the single keys that any query of the block sees. A few
queries that see far more than their neighbours (global tokens) become a block of their own. Blocks that gather equally
many keys form a group, which the kernel works on with a few large products.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from formers.ops.sparse_attention.pairs import Fold, PairMask, Pairs, Reordered

BLOCK = 64
"""Queries in a block: more make larger products, and more pairs that are computed and not wanted."""
_ROUND = 16
"""Lists of keys are filled up to a multiple of this, or of a sixteenth of their length, so that groups are few."""
_PAIRS_AT_ONCE = 1 << 22
"""Pairs whose mask is evaluated at once."""
_KEPT = 64
"""Patterns and lengths whose block lists are kept."""


@dataclass(frozen=True, eq=False)
class BlockGroup:
    """Blocks of equally many queries and keys.

    Attributes:
        q_nl: queries of each block, (n, l).
        k_ns: keys that each block gathers, (n, s); filled up with hidden ones.
        hidden_uls: True where query and key are no pair, (u, l, s), every different one once; None where all are pairs.
        which_n: the mask of each block.
        q_runs, k_runs: (first, step) where list n is the run of tokens from first + n·step on; None for others.
    """

    q_nl: Tensor
    k_ns: Tensor
    hidden_uls: Tensor | None
    which_n: Tensor
    q_runs: tuple[int, int] | None = None
    k_runs: tuple[int, int] | None = None

    def to(self, device: torch.device) -> BlockGroup:
        """Return the group on a device."""
        hidden = None if self.hidden_uls is None else self.hidden_uls.to(device)
        return BlockGroup(
            self.q_nl.to(device), self.k_ns.to(device), hidden, self.which_n.to(device), self.q_runs, self.k_runs
        )


@dataclass(frozen=True, eq=False)
class BlockLists:
    """A pattern as lists of keys.

    Attributes:
        groups: the blocks, by size.
        pairs: the pairs of the pattern.
        computed: the pairs that are computed: those, and what fills the blocks up.
    """

    groups: tuple[BlockGroup, ...]
    pairs: int
    computed: int

    @property
    def queries(self) -> int:
        """The number of queries that see a key at all."""
        return sum(group.q_nl.numel() for group in self.groups)

    def to(self, device: torch.device) -> BlockLists:
        """Return the lists on a device."""
        return BlockLists(tuple(group.to(device) for group in self.groups), self.pairs, self.computed)


@dataclass(frozen=True, eq=False)
class _QueryBlock:
    """Some queries (l,), the keys that any of them sees (s,), and True where query and key are a pair (l, s)."""

    q_l: Tensor
    k_s: Tensor
    seen_ls: Tensor


@lru_cache(_KEPT)
@torch.inference_mode(False)  # lists first made for inference must serve training later
def block_lists(pairs: Pairs, rows: int, keys: int, block: int = BLOCK, device: str = "cpu") -> BlockLists:
    """Return the lists of a resolved pattern for `rows` queries and `keys` keys; the last query stands at the last key.

    Kept for the last patterns and lengths. Takes O(pairs) time, and memory for the lists alone.
    """
    if device != "cpu":
        return block_lists(pairs, rows, keys, block).to(torch.device(device))
    fold = pairs.folded(keys) or Fold((), torch.arange(keys))
    inner = fold.pairs or (pairs if not fold.key else Reordered(pairs, fold.order_c))
    found: dict[tuple[int, int], list[_QueryBlock]] = defaultdict(list)
    count = computed = 0
    for made in _query_blocks(inner, fold.order_c, keys - rows, block):
        for part in _separate_heavy(made):
            found[len(part.q_l), _round_up(len(part.k_s))].append(part)
            count += int(part.seen_ls.sum())
            computed += len(part.q_l) * _round_up(len(part.k_s))
    return BlockLists(tuple(_make_group(some, size, keys - rows) for (_, size), some in found.items()), count, computed)


def _query_blocks(inner: PairMask, order_c: Tensor, offset: int, block: int) -> list[_QueryBlock]:
    """Return every block of queries with the keys it sees. `offset` is the token at which the queries begin."""
    places = torch.arange(len(order_c))
    q_places = places[order_c >= max(offset, 0)]
    if not len(q_places) or not len(order_c):
        return []
    queries = q_places.split(block)
    keys = places.split(block)
    q_lo, q_hi = _ends(queries)
    k_lo, k_hi = _ends(keys)
    strip = max(_PAIRS_AT_ONCE // len(keys), 1)
    made: list[_QueryBlock] = []
    for start in range(0, len(queries), strip):
        part = slice(start, start + strip)
        some, every = inner.bounds(q_lo[part, None], q_hi[part, None], k_lo[None, :], k_hi[None, :])
        some, every = (t.expand(len(q_lo[part]), len(keys)) for t in (some, every))
        for q, some_n, every_n in zip(queries[part], some, every, strict=True):
            made.append(_one_block(inner, order_c, q, keys, some_n, every_n))
    return made


def _ends(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return torch.stack([p[0] for p in parts]), torch.stack([p[-1] for p in parts])


def _one_block(
    inner: PairMask, order_c: Tensor, q_l: Tensor, keys: Sequence[Tensor], some_n: Tensor, every_n: Tensor
) -> _QueryBlock:
    """Return a block of queries with the keys it sees, among the key blocks that it may see some or surely all of."""
    wanted = some_n.nonzero().flatten().tolist()
    if not wanted:
        return _QueryBlock(order_c[q_l], order_c[:0], torch.ones(len(q_l), 0, dtype=torch.bool))
    k_s = torch.cat([keys[n] for n in wanted])
    sure = bool(every_n[wanted].all())
    seen_ls = torch.ones(len(q_l), len(k_s), dtype=torch.bool) if sure else _in_strips(inner, q_l, k_s)
    seen_ls = seen_ls & (order_c[k_s] >= 0)
    needed = seen_ls.any(0)
    return _QueryBlock(order_c[q_l], order_c[k_s[needed]], seen_ls[:, needed])


def _in_strips(inner: PairMask, q_l: Tensor, k_s: Tensor) -> Tensor:
    """Return the mask of every query and key, (l, s), made strip by strip."""
    size = max(_PAIRS_AT_ONCE // len(q_l), 1)
    return torch.cat([inner.mask(q_l[:, None], k[None, :]).expand(len(q_l), len(k)) for k in k_s.split(size)], 1)


def _separate_heavy(block: _QueryBlock) -> list[_QueryBlock]:
    """Return the block without queries that see nothing, and with those apart that see far more than the others."""
    seen_l = block.seen_ls.sum(1)
    alive = seen_l > 0
    if not alive.any():
        return []
    heavy = seen_l > 0.5 * len(block.k_s)
    light = alive & ~heavy
    if heavy.any() and light.any():
        apart = [_subset(block, heavy), _subset(block, light)]
        if 2 * sum(len(b.q_l) * len(b.k_s) for b in apart) < int(alive.sum()) * len(block.k_s):
            return apart
    return [block if alive.all() else _subset(block, alive)]


def _subset(block: _QueryBlock, chosen_l: Tensor) -> _QueryBlock:
    """Return some of the queries, with the keys that they see."""
    seen = block.seen_ls[chosen_l]
    needed = seen.any(0)
    return _QueryBlock(block.q_l[chosen_l], block.k_s[needed], seen[:, needed])


def _round_up(size: int) -> int:
    """Return the size to which a list of so many keys is filled up."""
    step = max(_ROUND, 1 << max((size // 16).bit_length() - 1, 0))
    return -(-size // step) * step


def _make_group(some: list[_QueryBlock], size: int, offset: int) -> BlockGroup:
    """Return blocks of equally many queries as a group: lists filled up to one size, equal masks kept once."""
    kept: list[Tensor] = []
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)  # masks with equal sums
    which, lists = [], []
    for block in some:
        k_s, hidden = _fill_up(block, size)
        same = alike[tuple(hidden.sum(0).tolist())]
        known = next((i for i in same if torch.equal(kept[i], hidden)), len(kept))
        if known == len(kept):
            same.append(known)
            kept.append(hidden)
        which.append(known)
        lists.append(k_s)
    hidden_uls, q_nl, k_ns = torch.stack(kept), torch.stack([block.q_l for block in some]) - offset, torch.stack(lists)
    return BlockGroup(
        q_nl,
        k_ns,
        hidden_uls if bool(hidden_uls.any()) else None,
        torch.tensor(which),
        _runs_of(q_nl),
        _runs_of(k_ns),
    )


def _fill_up(block: _QueryBlock, size: int) -> tuple[Tensor, Tensor]:
    """Return the keys of a block filled up to a size, and what is hidden. A run stays one, by the tokens before it."""
    missing, k_s = size - len(block.k_s), block.k_s
    first = int(k_s[0])
    run = int(k_s[-1]) - first + 1 == len(k_s) and first >= missing
    more = torch.arange(first - missing, first) if run else k_s.new_zeros(missing)
    parts = (more, k_s) if run else (k_s, more)
    sides = (missing, 0) if run else (0, missing)
    return torch.cat(parts), torch.nn.functional.pad(~block.seen_ls, sides, value=True)


def _runs_of(t_nx: Tensor) -> tuple[int, int] | None:
    """Return (first, step) where list n is the run of tokens from first + n·step on, else None."""
    first = int(t_nx[0, 0])
    step = int(t_nx[1, 0]) - first if len(t_nx) > 1 else t_nx.shape[1]
    n, x = (torch.arange(size) for size in t_nx.shape)
    return (first, step) if step > 0 and torch.equal(t_nx, first + n[:, None] * step + x) else None


def heads_by_pattern(patterns: Sequence[Pairs], heads: int) -> list[tuple[Pairs, list[int]]]:
    """Return every different pattern with the heads that have it, where heads take the patterns in turn."""
    found: dict[Pairs, list[int]] = {}
    for head in range(heads):
        found.setdefault(patterns[head % len(patterns)], []).append(head)
    return list(found.items())
