"""Tokens of texts that name parts and choices: words, numbers, texts in quotes, and signs."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""\s*+(?:
      (?P<text>[rR]?(?:'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"))
    | (?P<open>[rR]?['"].*+)
    | (?P<number>\.?[0-9](?:[eE][+-](?=[0-9])|[\w.])*+)
    | (?P<word>[^\W\d]\w*+)
    | (?P<sign>[][(){},=:|&~+-])
    | (?P<other>.)
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: `word`, `number`, `text` with its quotes, `sign`, `open` for a quote that nothing closes, `other` for any
            other character, or `end`.
        text: its characters.
        start: the index of its first character in the whole text.
    """

    kind: str
    text: str
    start: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text; the last one is its end. The cost grows with the length, not faster."""
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "end"
        found.append(Token(kind, match[kind], match.start(kind)))
        if kind == "end":
            break
    return found
