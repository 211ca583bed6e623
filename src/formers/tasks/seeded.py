"""Random numbers that depend on a name and a number only: those of the standard library, drawn in half the time."""

from __future__ import annotations

import random
from hashlib import sha512


class SeededStream:
    """The first random number for each number i under a name: that of `random.Random(f"{name}/{i}")`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._random = random.Random()  # one that is seeded anew takes half the time of a new one

    def below(self, index: int, bound: int) -> int:
        """Return the first whole number from 0 to `bound` − 1 for an index, as `randrange(bound)` gives it."""
        text = f"{self.name}/{index}".encode()
        self._random.seed(int.from_bytes(text + sha512(text).digest(), "big"))  # the number that the text stands for
        bits, number = bound.bit_length(), bound
        while number >= bound:
            number = self._random.getrandbits(bits)
        return number
