"""Patterns on blocks of tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from formers.part import Site, Unsupported
from formers.patterns.pattern import Pattern
from formers.patterns.tables import table_on


class Listed(Pattern):
    """For every block of queries, a list of the blocks of keys that it sees. Blocks beyond the list see nothing."""

    block: int = 16
    "Tokens in a block."
    rows: tuple[tuple[int, ...], ...] = ((0,), (0, 1))
    "The key blocks of query block 0, of query block 1, …"

    def check(self) -> None:
        if self.block < 1 or not self.rows or any(b < 0 for row in self.rows for b in row):
            raise ValueError(f"{self}: block must be at least 1, and rows must list blocks from 0 on")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also for a block that is never there."""
        super().check_site(site)
        last = max(len(self.rows) - 1, *(b for row in self.rows for b in row))
        if last * self.block >= site.context_length:
            raise Unsupported(
                f"{self}: block {last} is never there, as the model's context_length is {site.context_length}; list "
                "fewer blocks, or raise it"
            )

    @cached_property
    def seen(self) -> Tensor:
        """True where a block sees another, (blocks + 1, blocks + 1) bool; the last of each is for those beyond."""
        return _table(self.rows)

    def table(self) -> Tensor:
        """Return `seen`."""
        return self.seen

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.mask_on(q_idx.device)(q_idx, k_idx)

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        seen, block, last = table_on(self, device), self.block, len(self.seen) - 1

        def mask(q_idx: Tensor, k_idx: Tensor) -> Tensor:
            return seen[(q_idx // block).clamp(max=last), (k_idx // block).clamp(max=last)]

        return mask

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        before = torch.nn.functional.pad(self.seen.long().cumsum(0).cumsum(1), (1, 0, 1, 0))  # pairs up to here
        a, b, c, d = ((idx // self.block).clamp(max=len(before) - 2) for idx in (q_lo, q_hi, k_lo, k_hi))
        inside = before[b + 1, d + 1] - before[a, d + 1] - before[b + 1, c] + before[a, c]
        return inside > 0, inside == (b + 1 - a) * (d + 1 - c)

    def growth(self) -> float:
        return 1.0


def _table(rows: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return which blocks see which, (blocks + 1, blocks + 1) bool; the last row and column are for those beyond."""
    count = max(len(rows), 1 + max((b for row in rows for b in row), default=0))
    seen = torch.zeros(count + 1, count + 1, dtype=torch.bool)
    for i, row in enumerate(rows):
        seen[i, list(row)] = True
    return seen


class Blockwise(Pattern):
    """n × n blocks; the queries of block i see the keys of block permutation(i) only. The blocks grow with the length.

    Different heads may have different permutations, with the identity on most of them. Costs L²/n.
    Source: Qiu et al. 2019, arXiv:1911.02972.
    """

    permutation: tuple[int, ...] = (0, 1)
    "For every query block the key block it sees: each of 0 … n − 1 once."

    def check(self) -> None:
        if not self.permutation or sorted(self.permutation) != list(range(len(self.permutation))):
            raise ValueError(f"{self}: expected a permutation, each of 0 … {len(self.permutation) - 1} once")

    def needs_length(self) -> bool:
        return True

    def sized(self, length: int) -> Pattern:
        return Listed(max(-(-length // len(self.permutation)), 1), tuple((block,) for block in self.permutation))

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        raise ValueError(f"{self}: the blocks depend on the length; ask resolve(length=…, causal=…) for the mask")


class Neighbours(Pattern):
    """Blocks at most `radius` apart."""

    block: int = 16
    "Tokens in a block."
    radius: int = 1
    "Blocks to each side; 1 is BigBird's window of 3 blocks."

    def check(self) -> None:
        if self.block < 1 or self.radius < 0:
            raise ValueError(f"{self}: block must be at least 1 and radius at least 0")

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return (q_idx // self.block - k_idx // self.block).abs() <= self.radius

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        least, most = q_lo // self.block - k_hi // self.block, q_hi // self.block - k_lo // self.block
        return (least <= self.radius) & (most >= -self.radius), (most <= self.radius) & (least >= -self.radius)

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return next_idx // self.block - k_idx // self.block <= self.radius

    def memory(self) -> int:
        return self.block * (self.radius + 1) - 1

    def growth(self) -> float:
        return 1.0


class Edges(Pattern):
    """The first and the last block see all and are seen by all; when causal, the first one only, as there is no last.

    Source: Zaheer et al. 2020 (BigBird), arXiv:2007.14062, internal construction (ITC).
    """

    block: int = 16
    "Tokens in a block."

    def check(self) -> None:
        if self.block < 1:
            raise ValueError(f"{self}: block must be at least 1")

    def needs_length(self) -> bool:
        return True

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        return self.causal_form() if causal else self.sized(length)

    def sized(self, length: int) -> Pattern:
        return Ends(self.block, max(length - 1, 0) // self.block * self.block)

    def causal_form(self) -> Pattern:
        return Ends(self.block, None).causal_form()

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        raise ValueError(f"{self}: the last block depends on the length; ask resolve(length=…, causal=…) for the mask")

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return k_idx < self.block

    def memory(self) -> int:
        return self.block

    def growth(self) -> float:
        return 1.0


class Ends(Pattern):
    """Tokens before `first` and from `last` on see all and are seen by all."""

    first: int = 16
    "Tokens at the beginning."
    last: int | None = None
    "From which token on at the end; None: nowhere."

    def check(self) -> None:
        if self.first < 0 or (self.last is not None and self.last < 0):
            raise ValueError(f"{self}: first and last must be at least 0")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where all tokens are at an end, or none can be at the last."""
        super().check_site(site)
        if self.first >= (site.context_length if self.last is None else min(self.last, site.context_length)):
            raise Unsupported(
                f"{self}: all tokens are at an end, as the model's context_length is {site.context_length}; leave some "
                "between, or raise it"
            )
        if self.last is not None and self.last >= site.context_length:
            raise Unsupported(
                f"{self}: no token is at the end, as the model's context_length is {site.context_length}; leave last "
                "out, or raise that"
            )

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self._named(q_idx) | self._named(k_idx)

    def _named(self, idx: Tensor) -> Tensor:
        return idx < self.first if self.last is None else (idx < self.first) | (idx >= self.last)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        some = self._named(q_lo) | self._named(q_hi) | self._named(k_lo) | self._named(k_hi)
        return some, self._all_named(q_lo, q_hi) | self._all_named(k_lo, k_hi)

    def _all_named(self, lo: Tensor, hi: Tensor) -> Tensor:
        return (
            hi < self.first if self.last is None else (hi < self.first) | (lo >= self.last) | (self.last <= self.first)
        )

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return (k_idx < self.first) | (self.last is not None)

    def memory(self) -> int | None:
        return self.first if self.last is None else None

    def growth(self) -> float:
        return 1.0


_NEXT_HEAD = 0x9E3779B97F4A7C15
"""What seeds of neighbouring heads differ by: far more than those of layers, lengths and rows do."""


class Random(Pattern):
    """A few random key blocks for every query block, drawn once from seed and layer: the same in train and eval.

    Bidirectional, from all blocks, so that the choice depends on how many there are; causal, block b draws from 0 … b,
    so that it does not. Source: Zaheer et al. 2020 (BigBird), arXiv:2007.14062.
    """

    added = {"head": 0}  # noqa: RUF012
    blocks: int = 2
    "r, random blocks per query block."
    seed: int = 0
    "Seed of the draw, together with the layer."
    block: int = 16
    "Tokens in a block."
    layer: int = 0
    "Layer of the model, filled in where the pattern is used in one."
    head: int = 0
    "Head that draws blocks of its own."

    def check(self) -> None:
        if self.blocks < 1 or self.block < 1:
            raise ValueError(f"{self}: blocks and block must be at least 1")

    def needs_length(self) -> bool:
        return True

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also for a layer of its own, instead of which the model's will be filled in."""
        super().check_site(site)
        if self.layer:
            raise Unsupported(f"{self}: layer={self.layer} has no effect in a model, whose layers are filled in")

    def at_layer(self, layer: int) -> Pattern:
        return self.swap(layer=layer)

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        count = max(-(-length // self.block), 1)
        rows = tuple(self.drawn(i + 1 if causal else count, i) for i in range(count))
        drawn = Listed(self.block, rows)
        return drawn.causal_form() if causal else drawn

    def sized(self, length: int) -> Pattern:
        return self.resolve(length=length, causal=False)

    def drawn(self, count: int, row: int) -> tuple[int, ...]:
        """Return the key blocks, out of `count`, of one query block. Public, because no state dict holds them."""
        own = ((self.seed * 4099 + self.layer) * 65537 + count) * 65537 + row + self.head * _NEXT_HEAD
        fits = -(2**63) <= own < 2**64
        generator = torch.Generator().manual_seed(own if fits else own % 2**64)
        return tuple(sorted(torch.randperm(count, generator=generator)[: self.blocks].tolist()))

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        raise ValueError(f"{self}: what is drawn depends on the length; ask resolve(length=…, causal=…) for the mask")

    def growth(self) -> float:
        return 1.0
