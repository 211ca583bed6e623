"""Which keys each block of queries gathers: a pattern as lists of tokens, derived block by block, never as an L×S mask.

Queries are taken in blocks of `block`. For every block the pattern is asked for bounds on blocks of keys, and for the mask only
where these leave it open; what remains is a list of the single keys that any query of the block sees. A few queries that see far
more than their neighbours (global tokens) become a block of their own. Blocks that gather equally many keys form a group, which the
kernel works on with a few large products.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from formers.ops.pairs import Fold, Pairs, Places, Reordered

BLOCK = 64
"""Queries in a block: more make larger products, and more pairs that are computed and not wanted."""
_ROUND = 16
"""Lists of keys are filled up to a multiple of this, or of a sixteenth of their length, so that groups are few."""
_PAIRS_AT_ONCE = 1 << 22
"""Pairs whose mask is evaluated at once."""
_LAYOUTS = 64
"""How many layouts are kept."""


@dataclass(frozen=True, eq=False)
class Group:
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

    def to(self, device: torch.device) -> Group:
        hidden = None if self.hidden_uls is None else self.hidden_uls.to(device)
        return Group(
            self.q_nl.to(device), self.k_ns.to(device), hidden, self.which_n.to(device), self.q_runs, self.k_runs
        )


@dataclass(frozen=True, eq=False)
class Layout:
    """A pattern as lists: its groups, how many pairs it has, and how many are computed."""

    groups: tuple[Group, ...]
    pairs: int
    computed: int

    @property
    def queries(self) -> int:
        """How many see something."""
        return sum(group.q_nl.numel() for group in self.groups)

    def to(self, device: torch.device) -> Layout:
        return Layout(tuple(group.to(device) for group in self.groups), self.pairs, self.computed)


@dataclass(frozen=True, eq=False)
class Block:
    """Queries, the keys that any of them sees, and which pairs are none."""

    q_l: Tensor
    k_s: Tensor
    seen_ls: Tensor


@lru_cache(_LAYOUTS)
def layout(pairs: Pairs, rows: int, keys: int, block: int = BLOCK, device: str = "cpu") -> Layout:
    """The layout of a resolved pattern for `rows` queries, the last of which stands at the last of the `keys` keys."""
    if device != "cpu":
        return layout(pairs, rows, keys, block).to(torch.device(device))
    fold = pairs.folded(keys) or Fold((), torch.arange(keys))
    inner = fold.pairs or (pairs if not fold.key else Reordered(pairs, fold.order_c))
    found: dict[tuple[int, int], list[Block]] = defaultdict(list)
    count = computed = 0
    for made in blocks(inner, fold.order_c, keys - rows, block):
        for piece in _split(made):
            found[len(piece.q_l), _rounded(len(piece.k_s))].append(piece)
            count += int(piece.seen_ls.sum())
            computed += len(piece.q_l) * _rounded(len(piece.k_s))
    return Layout(tuple(_group(some, size, keys - rows) for (_, size), some in found.items()), count, computed)


def blocks(inner: Places, order_c: Tensor, offset: int, block: int) -> list[Block]:
    """Every block of queries with the keys it sees. `offset` is the token at which the queries begin."""
    places = torch.arange(len(order_c))
    q_places = places[order_c >= max(offset, 0)]
    if not len(q_places) or not len(order_c):
        return []
    queries = q_places.split(block)
    keys = places.split(block)
    q_lo, q_hi = _ends(queries)
    k_lo, k_hi = _ends(keys)
    strip = max(_PAIRS_AT_ONCE // len(keys), 1)
    made: list[Block] = []
    for start in range(0, len(queries), strip):
        part = slice(start, start + strip)
        some, every = inner.bounds(q_lo[part, None], q_hi[part, None], k_lo[None, :], k_hi[None, :])
        some, every = (t.expand(len(q_lo[part]), len(keys)) for t in (some, every))
        for q, some_n, every_n in zip(queries[part], some, every, strict=True):
            made.append(_one_block(inner, order_c, q, keys, some_n, every_n))
    return made


def _ends(pieces: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return torch.stack([p[0] for p in pieces]), torch.stack([p[-1] for p in pieces])


def _one_block(
    inner: Places, order_c: Tensor, q_l: Tensor, keys: Sequence[Tensor], some_n: Tensor, every_n: Tensor
) -> Block:
    """The keys that a block of queries sees, among the key blocks that it may see some or surely all of."""
    wanted = some_n.nonzero().flatten().tolist()
    if not wanted:
        return Block(order_c[q_l], order_c[:0], torch.ones(len(q_l), 0, dtype=torch.bool))
    k_s = torch.cat([keys[n] for n in wanted])
    sure = bool(every_n[wanted].all())
    seen_ls = torch.ones(len(q_l), len(k_s), dtype=torch.bool) if sure else _in_strips(inner, q_l, k_s)
    seen_ls = seen_ls & (order_c[k_s] >= 0)
    needed = seen_ls.any(0)
    return Block(order_c[q_l], order_c[k_s[needed]], seen_ls[:, needed])


def _in_strips(inner: Places, q_l: Tensor, k_s: Tensor) -> Tensor:
    """The mask of every query and key."""
    size = max(_PAIRS_AT_ONCE // len(q_l), 1)
    return torch.cat([inner.mask(q_l[:, None], k[None, :]).expand(len(q_l), len(k)) for k in k_s.split(size)], 1)


def _split(block: Block) -> list[Block]:
    """The block without queries that see nothing, and with those apart that see far more than the others."""
    seen_l = block.seen_ls.sum(1)
    alive = seen_l > 0
    if not alive.any():
        return []
    heavy = seen_l > 0.5 * len(block.k_s)
    light = alive & ~heavy
    if heavy.any() and light.any():
        apart = [_pick(block, heavy), _pick(block, light)]
        if 2 * sum(len(b.q_l) * len(b.k_s) for b in apart) < int(alive.sum()) * len(block.k_s):
            return apart
    return [block if alive.all() else _pick(block, alive)]


def _pick(block: Block, chosen_l: Tensor) -> Block:
    """Some of the queries, with the keys that they see."""
    seen = block.seen_ls[chosen_l]
    needed = seen.any(0)
    return Block(block.q_l[chosen_l], block.k_s[needed], seen[:, needed])


def _rounded(size: int) -> int:
    step = max(_ROUND, 1 << max((size // 16).bit_length() - 1, 0))
    return -(-size // step) * step


def _group(some: list[Block], size: int, offset: int) -> Group:
    """Blocks of equally many queries, their lists filled up to one size and equal masks kept once."""
    kept: list[Tensor] = []
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)  # masks with equal sums
    which, lists = [], []
    for block in some:
        k_s, hidden = _filled(block, size)
        same = alike[tuple(hidden.sum(0).tolist())]
        known = next((i for i in same if torch.equal(kept[i], hidden)), len(kept))
        if known == len(kept):
            same.append(known)
            kept.append(hidden)
        which.append(known)
        lists.append(k_s)
    hidden_uls, q_nl, k_ns = torch.stack(kept), torch.stack([block.q_l for block in some]) - offset, torch.stack(lists)
    return Group(
        q_nl,
        k_ns,
        hidden_uls if bool(hidden_uls.any()) else None,
        torch.tensor(which),
        _runs_of(q_nl),
        _runs_of(k_ns),
    )


def _filled(block: Block, size: int) -> tuple[Tensor, Tensor]:
    """The list of a block filled up with hidden keys, and what is hidden. A run stays one, by the tokens before it."""
    missing, k_s = size - len(block.k_s), block.k_s
    first = int(k_s[0])
    run = int(k_s[-1]) - first + 1 == len(k_s) and first >= missing
    more = torch.arange(first - missing, first) if run else k_s.new_zeros(missing)
    parts = (more, k_s) if run else (k_s, more)
    sides = (missing, 0) if run else (0, missing)
    return torch.cat(parts), torch.nn.functional.pad(~block.seen_ls, sides, value=True)


def _runs_of(t_nx: Tensor) -> tuple[int, int] | None:
    """See `Group`."""
    first = int(t_nx[0, 0])
    step = int(t_nx[1, 0]) - first if len(t_nx) > 1 else t_nx.shape[1]
    n, x = (torch.arange(size) for size in t_nx.shape)
    return (first, step) if step > 0 and torch.equal(t_nx, first + n[:, None] * step + x) else None


def of_heads(patterns: Sequence[Pairs], heads: int) -> list[tuple[Pairs, list[int]]]:
    """Every different pattern with the heads that have it; the patterns are given in turn to the heads."""
    found: dict[Pairs, list[int]] = {}
    for head in range(heads):
        found.setdefault(patterns[head % len(patterns)], []).append(head)
    return list(found.items())
