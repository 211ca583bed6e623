"""The console that commands print their tables on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_EVERYTHING = 100_000
"""Columns where there is no terminal: no table is as wide."""


def table_console(*, quiet: bool = False) -> Console:
    """Return the console of standard output, as wide as its terminal.

    A file or a pipe gets whole tables and lines: nothing is left out, and nothing broken, which would hide it from a
    search.
    """
    from rich.console import Console

    console = Console(quiet=quiet)
    return console if console.is_terminal else Console(quiet=quiet, width=_EVERYTHING)
