"""Documents that are made so that something has to be looked up in them: names that mean something else in each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from added_memory_documents import WINDOW, Document, Plan
from torch import Tensor


class Names:
    """Documents of 512 tokens that give up to 32 names one of 16 symbols each, anew in each document.

    A name is one token, and the next one says which symbol it has (a token for each of the 512 pairs), which is what is
    predicted. First each name comes once, then names come at random. With 32 names, those that are measured, two thirds
    of the uses have another one of the same name within the 64 tokens that models see (`near`); the rest have it
    farther back (`far`).
    """

    plan = Plan(
        small=(64, 1),
        large=(128, 1),
        rows=16,
        steps=(800, 700, 400),
        rates=(3e-3, 3e-3),
        memory=f"memorizing(window={WINDOW}, size=512, k=32, layer=0)",
    )
    kinds = ("near", "far")
    unit = "symbol"
    names, symbols, statements = 32, 16, 256
    vocab_size = 1 + names + names * symbols
    facts: ClassVar[dict[str, str | int]] = {}

    def training(self, seed: int) -> Iterator[Document]:
        """Yield documents of 2 to 32 names that belong to a seed."""
        draw = torch.Generator().manual_seed(1_000_000 * seed)
        while True:
            yield from self._documents(torch.randint(2, self.names + 1, (self.plan.rows, 1), generator=draw), draw)

    def test(self) -> Iterator[Document]:
        """Yield 64 documents of 32 names."""
        return self._documents(torch.full((64, 1), self.names), torch.Generator().manual_seed(10**12))

    def _documents(self, names_c1: Tensor, draw: torch.Generator) -> Iterator[Document]:
        """Yield documents with so many names. Token 0 begins each."""
        count, places = len(names_c1), torch.arange(self.statements)
        meaning = torch.randint(self.symbols, (count, self.names), generator=draw)
        order = torch.rand(count, self.names, generator=draw).argsort(1)
        used = (torch.rand(count, self.statements, generator=draw) * names_c1).long()
        names = order.gather(1, torch.where(places < names_c1, places.clamp(max=self.names - 1), used))
        said = 1 + self.names + names * self.symbols + meaning.gather(1, names)
        tokens = torch.stack([1 + names, said], 2).flatten(1)
        kinds = torch.stack([torch.full_like(names, -1), self._kinds_of(names)], 2).flatten(1)
        ids = torch.cat([torch.zeros(count, 1, dtype=torch.long), tokens], 1)
        yield from map(Document, ids, kinds, torch.ones_like(kinds))

    def _kinds_of(self, names: Tensor) -> Tensor:
        """Return 0 for a use whose name's last symbol is in the window, 1 for another one, −1 for a definition."""
        kinds, last = torch.full_like(names, -1), torch.full((len(names), self.names), -1)
        for place in range(names.shape[1]):
            name = names[:, place : place + 1]
            before = last.gather(1, name)
            is_far = (2 * (place - before) >= WINDOW).long()
            kinds[:, place : place + 1] = torch.where(before < 0, -1, is_far)
            last.scatter_(1, name, place)
        return kinds
