"""Choices as text, `mixer=performer(features=128), position=alibi, depth=2`, and the values they mean."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from formers.part import Part

_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "'\""


def parse_choices(text: str) -> dict[str, Any]:
    """Return name → value for a text such as `mixer=dense, depth=2`.

    Raises:
        ValueError: for a text that cannot be read, a repeated name, or a part that does not exist.
        TypeError: for an option that a part does not have.
    """
    choices: dict[str, Any] = {}
    for piece in split_top_level(text):
        name, value = _split_assignment(piece)
        if name in choices:
            raise ValueError(f"{text!r} chooses {name} twice")
        choices[name] = parse_choice(name, value)
    return choices


def parse_choice(name: str, value: Any) -> Any:
    """Return a value as the configuration takes it.

    On an axis, text and lists of text become parts; elsewhere, text becomes the literal that it spells. Other values
    stay.
    """
    from formers.catalogue import AXES  # imports every part; splitting text does not need them
    from formers.norms import NORM_OPTIONS

    axis = AXES["norm"] if name in NORM_OPTIONS else AXES.get(name)
    if name in NORM_OPTIONS and value == "None":
        return None
    if isinstance(value, (list, tuple)):
        return tuple(parse_choice(name, item) for item in value)
    if not isinstance(value, str):
        return value
    if axis is not None:
        is_list = value.startswith("[") and value.endswith("]")
        return tuple(axis.parse(item) for item in split_top_level(value[1:-1])) if is_list else axis.parse(value)
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value  # a bare word; the configuration raises if it does not take one


def parse_alternatives(text: str) -> tuple[str, list[str]]:
    """Return the axis and the texts of its alternatives in `mixer=softmax,linear`. Raise ValueError for other texts."""
    name, values = _split_assignment(text)
    return name, split_top_level(values)


def choices_text(choices: Mapping[str, Any]) -> str:
    """Return choices as text that `parse_choices` reads back."""
    return ", ".join(f"{name}={choice_text(value)}" for name, value in choices.items())


def choice_text(value: Any) -> str:
    """Return a choice as short text that parses back to it: `softmax`, `performer(features=128)`, `[softmax, pool]`."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(choice_text, value)) + "]"
    return repr(value).removesuffix("()") if isinstance(value, Part) else repr(value)


def split_top_level(text: str, separator: str = ",") -> list[str]:
    """Return the pieces between separators that are neither inside brackets nor inside quotes.

    Raise ValueError for an empty piece, and for a bracket or quote that is left open.
    """
    pieces, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        else:
            depth += (character in _OPEN) - (character in _CLOSE)
        if character == separator and not depth and not quote:
            pieces.append("")
        else:
            pieces[-1] += character
    pieces = [piece.strip() for piece in pieces]
    if depth or quote:
        raise ValueError(f"cannot read {text!r}: a bracket or quote is left open")
    if not all(pieces):
        raise ValueError(f"cannot read {text!r}: nothing stands beside one of its {separator!r}")
    return pieces


def _split_assignment(text: str) -> tuple[str, str]:
    """Return the name and the value of `mixer=softmax`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier() or not value.strip():
        raise ValueError(f"cannot read {text!r}; write name=value, as in mixer=softmax or depth=4")
    return name.strip(), value.strip()
