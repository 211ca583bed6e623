"""Command lines that a shell takes apart into the same words again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_SINGLE_QUOTED = re.compile(r"""((?<=[=(\[])|(?<=, ))'([^'"\\]*)'""")
"""A string among the options of a part, as Python writes it."""


def command_line(words: Sequence[str]) -> str:
    """Return the words as one line that a shell splits into them.

    Strings among the options of a part get double quotes, so that the shell's own need no escapes:
    `'glue(task="rte")'`.
    """
    return shlex.join([_SINGLE_QUOTED.sub(r'"\2"', word) for word in words])
