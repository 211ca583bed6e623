"""Command lines that a shell takes apart into the same words again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*\"|(?:(?<=[=(\[])|(?<=, ))'([^'"\\]*)'""")
"""A string in double quotes, or one among the options of a part, as Python writes it: the latter is a group."""
_NAME_ENDS = ": "
"""What stands between the name of an arm, which may hold quotes, and its choices."""


def command_line(words: Sequence[str]) -> str:
    """Return the words as one line that a shell splits into them.

    Strings among the options of a part get double quotes, so that the shell's own need no escapes:
    `'glue(task="rte")'`.
    """
    return shlex.join(map(_with_double_quotes, words))


def _with_double_quotes(word: str) -> str:
    """Return a word with the strings among its options in double quotes; names and other strings stay as they are."""
    name, end, choices = word.rpartition(_NAME_ENDS)
    return name + end + _QUOTED.sub(lambda found: found[0] if found[1] is None else f'"{found[1]}"', choices)
