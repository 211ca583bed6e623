"""Values as error messages quote them: on one line, printable, and never long."""

from __future__ import annotations

import reprlib
from typing import Any

LONGEST = 120
"""Characters of a value that a message quotes."""


def quoted(value: Any, longest: int = LONGEST) -> str:
    """Return the `repr` of a value, cut in the middle where it is longer than so many characters, with its length.

    The cost is bounded, too: only a few items of each container are looked at, and only a few levels of them.
    """
    if isinstance(value, str):
        if len(value) <= longest and len(repr(value)) <= 2 * longest:
            return repr(value)
        head, tail = _fitting(value[:longest], longest // 2), _fitting(value[-longest:][::-1], longest // 4)[::-1]
        return f"{head!r} … {tail!r} ({len(value):,} characters)"
    text = _SHORT.repr(value)
    return text if len(text) <= longest else f"{text[: longest // 2]} … {text[-longest // 4 :]}"


def _fitting(text: str, room: int) -> str:
    """Return as much of the beginning of a text as fits when its characters are written as in Python."""
    room += 2  # the quotes
    while len(repr(text)) > room:
        text = text[: min(len(text) - 1, len(text) * room // len(repr(text)))]
    return text


def shortened(text: str, longest: int) -> str:
    """Return a text without its middle where it is longer than so many characters, and say how much is left out."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} … ({len(text) - longest:,} characters) … {text[-(longest - longest // 2) :]}"


class _Short(reprlib.Repr):
    """A `repr` of a few items and levels."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, LONGEST, 10 * LONGEST
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdict = 8

    def repr_int(self, x: int, level: int) -> str:
        """Return a whole number, or for one with too many digits to read, how many bits it has."""
        return repr(x) if x.bit_length() <= 4 * LONGEST else f"a whole number of {x.bit_length():,} bits"


_SHORT = _Short()
