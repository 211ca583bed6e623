"""Types of options: checked when a part is made, used again when one is read from text or JSON."""

from __future__ import annotations

import math
import types
from typing import Any, Literal, Union, get_args, get_origin

from formers.part.member import Member

MISMATCH = object()
"""The result of `accept` for a value that does not fit."""


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union; a tuple of the hint alone if it is none."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def accept(value: Any, hint: Any) -> Any:
    """Return the value as the hint wants it (an int becomes a float, a list a tuple), or `MISMATCH`."""
    for option in alternatives(hint):
        if (accepted := _accept_one(value, option)) is not MISMATCH:
            return accepted
    return MISMATCH


def _accept_one(value: Any, option: Any) -> Any:
    origin = get_origin(option)
    if origin is Literal:
        return value if value in get_args(option) else MISMATCH
    if origin is tuple:
        inner = (
            [accept(item, get_args(option)[0]) for item in value] if isinstance(value, (tuple, list)) else [MISMATCH]
        )
        return MISMATCH if MISMATCH in inner else tuple(inner)
    if option is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if number else MISMATCH
    if option is int and isinstance(value, bool):
        return MISMATCH
    return value if isinstance(option, type) and isinstance(value, option) else MISMATCH


def describe(hint: Any) -> str:
    """Return a type hint in words."""
    words = []
    for option in alternatives(hint):
        if get_origin(option) is Literal:
            words.append("one of " + ", ".join(map(repr, get_args(option))))
        elif get_origin(option) is tuple:
            words.append(f"a list of {describe(get_args(option)[0])}")
        elif isinstance(option, type) and issubclass(option, Member):
            words.append(f"a {option.name()} ({', '.join(kind.name() for kind in option.kinds())})")
        else:
            words.append({type(None): "None", float: "finite float"}.get(option, option.__name__))
    return " or ".join(words)


def part_hint(hint: Any) -> type[Member]:
    """Return the axis that a hint names, also inside a tuple or a union; `Member` if it names none."""
    for option in alternatives(hint):
        if isinstance(option, type) and issubclass(option, Member):
            return option
        if get_origin(option) is tuple:
            return part_hint(get_args(option)[0])
    return Member
