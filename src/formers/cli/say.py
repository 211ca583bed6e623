"""Text that commands print, in which characters that a terminal would act on are drawn instead."""

from __future__ import annotations

from typing import Any

import typer

from formers.plot.visible_text import visible

_LONGEST = 3000
"""Characters of an error."""


def say(text: object, err: bool = False) -> None:
    """Print a line of text, on standard error with `err`, with its control characters visible."""
    typer.echo(visible(str(text)), err=err)


def printable_error(text: str) -> str:
    """Return an error's text with its control characters visible, and without its middle where it is very long."""
    from formers.part import shortened  # loads torch, which help does not need

    return visible(shortened(text, _LONGEST))


def check_numbers(options: dict[str, Any]) -> None:
    """Raise ValueError for an option that is no finite number, or one of more than 64 bits."""
    for name, value in options.items():
        if isinstance(value, (int, float)) and not -(2**63) <= value < 2**63:  # NaN is in no range
            kind = "a whole number of at most 64 bits" if isinstance(value, int) else "a finite number"
            shown = value if isinstance(value, float) else f"one of {value.bit_length():,} bits"
            raise ValueError(f"--{name.replace('_', '-')} must be {kind}, but {shown} was given")
