"""Facts to be hidden and found, before they are symbols or words: who points to what, and where each stands."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fact:
    """`key` has a value, or, where `leads` is true, has whatever the key of that number has.

    Attributes:
        key: the number of a key.
        content: the number of a value, or of a key.
        slot: the place between pieces of the text, from 0, that it stands at.
    """

    key: int
    content: int
    leads: bool
    slot: int


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """Facts in the order in which they stand, and what is asked: keys with the values that each has, in that order."""

    facts: tuple[Fact, ...]
    questions: tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Hiding:
    """How facts are drawn: `keys` chains of `hops` + 1 keys, each leading to `values` values."""

    keys: int = 1
    values: int = 1
    hops: int = 0

    @property
    def names(self) -> int:
        """The number of different keys."""
        return self.keys * (self.hops + 1)

    @property
    def facts(self) -> int:
        """The number of facts."""
        return self.keys * (self.hops + self.values)

    @property
    def contents(self) -> int:
        """The number of different values."""
        return self.keys * self.values

    def draw(self, stream: random.Random, slots: int, depth: float | None = None) -> Hidden:
        """Return facts at different ones of some slots: at random ones, or the first that is asked for at a depth.

        Keys and values are numbered in random order, so that a number tells nothing. What the facts say does not depend
        on the slots. Raise ValueError for fewer slots than facts.
        """
        if slots < self.facts:
            raise ValueError(f"{self.facts} facts do not fit into {slots} places between pieces of the text")
        names = stream.sample(range(self.names), self.names)
        values = stream.sample(range(self.contents), self.contents)
        chains = [self._chain(chain) for chain in range(self.keys)]
        places = iter(self._places(stream, slots, depth))
        placed = [
            [
                Fact(key=names[key], content=(names if leads else values)[content], leads=leads, slot=next(places))
                for key, content, leads in chain
            ]
            for chain in chains
        ]
        return Hidden(
            facts=tuple(sorted((fact for chain in placed for fact in chain), key=_slot)),
            questions=tuple((chain[0].key, _values(chain)) for chain in placed),
        )

    def _chain(self, chain: int) -> list[tuple[int, int, bool]]:
        """Return (key, content, leads) of a chain: its keys lead one to the next, and the last one has its values."""
        first = chain * (self.hops + 1)
        links = [(first + hop, first + hop + 1, True) for hop in range(self.hops)]
        return links + [(first + self.hops, chain * self.values + value, False) for value in range(self.values)]

    def _places(self, stream: random.Random, slots: int, depth: float | None) -> Sequence[int]:
        """Return a slot for each fact, that of the first one by its depth."""
        if depth is None:
            return stream.sample(range(slots), self.facts)
        first = round(depth * (slots - 1))
        others = stream.sample(range(slots - 1), self.facts - 1)
        return [first, *(slot + (slot >= first) for slot in others)]


def _slot(fact: Fact) -> int:
    return fact.slot


def _values(chain: Sequence[Fact]) -> tuple[int, ...]:
    """Return the values that a chain leads to, in the order in which they stand."""
    return tuple(fact.content for fact in sorted(chain, key=_slot) if not fact.leads)
