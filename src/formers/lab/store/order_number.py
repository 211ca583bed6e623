"""Numbers that order studies and runs, as texts that anybody may have changed."""

from __future__ import annotations

_DIGITS = 20


def order_number(text: str) -> int:
    """Return the number that a text is; 0 for one that is none, or has twenty digits and more."""
    return int(text) if text.isdecimal() and len(text) < _DIGITS else 0
