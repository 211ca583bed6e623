"""A limit to parts within parts, the same for every way in: Python, text, YAML and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from formers.part.member import Member

DEEPEST = 50
"""Levels of parts, lists and brackets within each other."""


def check_nesting(value: Any) -> None:
    """Raise ValueError for a part, or for JSON that means one, with more than `DEEPEST` levels."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [*{id(inner): inner for outer in level for inner in _inside(outer)}.values()]
        if not level:
            return
    raise too_deep()


def too_deep() -> ValueError:
    """Return the error for what is nested too deeply."""
    return ValueError(
        f"parts, lists and brackets may lie within each other up to {DEEPEST} levels deep, but here there are more; "
        "write it flatter"
    )


def _inside(value: Any) -> Iterable[Any]:
    """Return the options of a part, the items of a list, the values of a dictionary."""
    if isinstance(value, Member):
        return [getattr(value, field.name) for field in fields(value)]  # type: ignore[arg-type]
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()
