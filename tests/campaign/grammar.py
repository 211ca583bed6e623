"""Texts of parts, made from their declared options: names that exist, with values that fit or nearly fit."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from random import Random
from typing import Any, Literal, get_args, get_origin

from campaign import mutate
from formers.catalogue import AXES, members
from formers.part import Part, alternatives, option_hints
from formers.patterns import PATTERNS, Pattern
from formers.tasks import TASKS

AXIS_OF: dict[str, type[Part]] = {**AXES, "pattern": Pattern, "task": TASKS[0].axis}
_INTEGERS = (*"12348" * 3, "0", "5", "16", "-1", "1000000", "10**3", "1e3", "True", "2.0", "9" * 30)
_FLOATS = (*("0.5", "1.0", "2.0") * 3, "0.0", "1e-6", "-1.0", "1e300", "1e-300", "nan", "inf", "1e309", "1", "True")


@cache
def kinds_of(axis: str) -> tuple[type[Part], ...]:
    """Return the parts of an axis, in the order of its list."""
    if axis == "task":
        return tuple(TASKS)
    return PATTERNS if axis == "pattern" else members(AXES[axis])


def part_text(rng: Random, axis: str, depth: int = 2) -> str:
    """Return the text of a part, right or nearly right."""
    if axis == "pattern" and rng.random() < 0.3 and depth:
        sides = [part_text(rng, axis, depth - 1) for _ in range(2)]
        return rng.choice((f"{sides[0]} | {sides[1]}", f"{sides[0]} & ~{sides[1]}", f"~({sides[0]})"))
    kind = rng.choice(kinds_of(axis))
    hints = option_hints(kind)
    chosen = [field for field in fields(kind) if rng.random() < 0.4]  # type: ignore[arg-type]
    options = [f"{field.name}={_value(rng, hints[field.name], depth)}" for field in chosen]
    if options and kind.positional and rng.random() < 0.3:
        options[0] = options[0].partition("=")[2]
    return f"{kind.name()}({', '.join(options)})" if options or rng.random() < 0.3 else kind.name()


def damaged_text(rng: Random, axis: str) -> str:
    """Return the text of a part, as it is in one case of three, else damaged."""
    text = part_text(rng, axis)
    return text if rng.random() < 0.34 else mutate.a_text(rng, text)


def sound_part(rng: Random, axis: str) -> Part:
    """Return a part that can be made."""
    while True:
        try:
            return AXIS_OF[axis].parse(part_text(rng, axis))
        except (ValueError, TypeError, OverflowError, MemoryError):
            continue


def _value(rng: Random, hint: Any, depth: int) -> str:
    """Return the text of an option's value."""
    if rng.random() < 0.08:
        return rng.choice(("None", "''", "[]", "x", "'x'", "{}", "...", "()", "[[]]", "softmax", "window(2)"))
    option = rng.choice(alternatives(hint))
    if get_origin(option) is Literal:
        return repr(rng.choice(get_args(option)))
    if get_origin(option) is tuple:
        return f"[{', '.join(_value(rng, get_args(option)[0], depth - 1) for _ in range(rng.randrange(4)))}]"
    if isinstance(option, type) and issubclass(option, Part):
        names = [name for name, axis in AXIS_OF.items() if axis is option.axis]
        return part_text(rng, names[0], depth - 1) if names and depth > 0 else option.name()
    texts = {int: _INTEGERS, float: _FLOATS, bool: ("True", "False", "1", "true"), str: ("'words.txt'", "'x'", "''")}
    return rng.choice(texts.get(option, ("None",)))
