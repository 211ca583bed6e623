"""Choices as text: `mixer=performer(features=128), position=alibi, depth=2` and the values it means."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from formers.part import Part

OPEN, CLOSE, QUOTES = "([{", ")]}", "'\""


def split(text: str, mark: str = ",") -> list[str]:
    """Cuts a text at its top-level marks: not inside brackets or quotes. Empty pieces raise."""
    pieces, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in QUOTES:
            quote = character
        else:
            depth += (character in OPEN) - (character in CLOSE)
        if character == mark and not depth and not quote:
            pieces.append("")
        else:
            pieces[-1] += character
    pieces = [piece.strip() for piece in pieces]
    if depth or quote or not all(pieces):
        reason = "a bracket or quote is left open" if depth or quote else f"nothing stands beside one of its {mark!r}"
        raise ValueError(f"cannot read {text!r}: {reason}")
    return pieces


def _assignment(text: str) -> tuple[str, str]:
    """`mixer=softmax` → ("mixer", "softmax")."""
    name, mark, value = text.partition("=")
    if not mark or not name.strip().isidentifier() or not value.strip():
        raise ValueError(f"cannot read {text!r}; write name=value, as in mixer=softmax or depth=4")
    return name.strip(), value.strip()


def parse_choices(text: str) -> dict[str, Any]:
    """The choices in a text such as `mixer=dense, depth=2`. Raises for unreadable or repeated ones."""
    found: dict[str, Any] = {}
    for piece in split(text):
        name, value = _assignment(piece)
        if name in found:
            raise ValueError(f"{text!r} chooses {name} twice")
        found[name] = choice(name, value)
    return found


def choice(name: str, value: Any) -> Any:
    """A value as the configuration wants it: text and lists of text become parts on an axis, literals elsewhere."""
    from formers.catalogue import AXES  # imports every part; splitting text does not need them

    axis = AXES.get(name)
    if isinstance(value, (list, tuple)):
        return tuple(choice(name, item) for item in value)
    if not isinstance(value, str):
        return value
    if axis is not None:
        listed = value.startswith("[") and value.endswith("]")
        return tuple(axis.parse(item) for item in split(value[1:-1])) if listed else axis.parse(value)
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value  # a bare word; the configuration says whether it takes one


def alternatives(text: str) -> tuple[str, list[str]]:
    """`mixer=softmax,linear` → the axis and the texts of its alternatives."""
    name, values = _assignment(text)
    return name, split(values)


def value_text(value: Any) -> str:
    """A choice as short text that parses back to it: `softmax`, `performer(features=128)`, `[softmax, linear]`, `4`."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return repr(value).removesuffix("()") if isinstance(value, Part) else repr(value)


def choices_text(choices: Mapping[str, Any]) -> str:
    """Choices as text that `parse_choices` reads back."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in choices.items())
