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
        return next((word for word in get_args(option) if type(word) is type(value) and word == value), MISMATCH)
    if origin is tuple:
        inner = (
            [accept(item, get_args(option)[0]) for item in value] if isinstance(value, (tuple, list)) else [MISMATCH]
        )
        return MISMATCH if MISMATCH in inner else tuple(inner)
    if isinstance(value, bool) or option is bool:
        return value if isinstance(value, bool) and option in (bool, object) else MISMATCH
    if option in (int, float):
        return _number(value, option)
    if option is str:  # of subclasses, such as words of an Enum, their characters
        return str.__str__(value) if isinstance(value, str) else MISMATCH
    return value if isinstance(option, type) and isinstance(value, option) else MISMATCH


def _number(value: Any, option: type[int] | type[float]) -> Any:
    """Return a whole number of at most 64 bits, or a finite one; `MISMATCH` for others."""
    if option is int:
        return int(value) if isinstance(value, int) and is_64_bit(value) else MISMATCH
    if not isinstance(value, (int, float)) or (isinstance(value, int) and not is_64_bit(value)):
        return MISMATCH
    return float(value) + 0.0 if math.isfinite(value) else MISMATCH  # + 0.0: no -0.0, which is equal, but another text


def is_64_bit(value: int) -> bool:
    """Return whether a whole number is one of torch's: at least -2⁶³, less than 2⁶³."""
    return -(2**63) <= value < 2**63


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
