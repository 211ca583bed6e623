"""Command lines as they are shown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_QUOTED = re.compile(r"""((?<=[=(\[])|(?<=, ))'([^'"\\]*)'""")
"""Text among the options of a part, as Python writes it."""


def command_line(words: Sequence[str]) -> str:
    """Words as a shell takes them apart again, text in parts with double quotes: `'glue(task="rte")'` needs no more of them."""
    return shlex.join([_QUOTED.sub(r'"\2"', word) for word in words])
