"""Dataclasses from the plain values of a JSON text, every field checked against its type."""

from __future__ import annotations

import math
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_SHOWN = 80
"""Characters of a wrong value that an error shows."""
Record = TypeVar("Record")


def from_plain(kind: type[Record], data: Any, place: str = "") -> Record:
    """Return the dataclass `kind` from the mapping that `asdict` and JSON made of it.

    Lists become tuples where the field's type says so, and whole numbers floats; the texts "NaN", "Infinity" and
    "-Infinity" are read as the floats that JSON lacks. `place` is where the mapping stands, for errors.

    Raises:
        ValueError: for an unknown or missing field, and for a value that is not of its field's type, with its place.
    """
    return _record(kind, data, place or kind.__name__)


def _record(kind: Any, data: Any, place: str) -> Any:
    if not isinstance(data, dict):
        raise _wrong(place, "a mapping", data)
    known = {field.name: field for field in fields(kind)}
    if unknown := [name for name in data if name not in known]:
        raise ValueError(f"{place} has no field {_shown(unknown[0])}; it has {', '.join(known)}")
    needed = [n for n, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    if missing := [name for name in needed if name not in data]:
        raise ValueError(f"{place} lacks {', '.join(missing)}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, f"{place}.{name}") for name, value in data.items()})


def _value(hint: Any, value: Any, place: str) -> Any:
    """Return a value as its type wants it. Raise ValueError for one that is of another type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None and type(None) in inner else _value(inner[0], value, place)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return _record(hint, value, place)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(inner[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {name: _value(inner[1], item, f"{place}[{_shown(name)}]") for name, item in value.items()}
    if origin is Literal and isinstance(value, str) and value in inner:
        return value
    return _number_or_text(hint, value, place)


def _number_or_text(hint: Any, value: Any, place: str) -> Any:
    """Return a text, a switch, a whole number or a float."""
    if hint is float and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if hint is float and type(value) in (int, float) and abs(value) <= _LARGEST:
        return float(value)
    if hint is float and type(value) is float:  # infinite, or no number: as Python itself writes them
        return value
    if hint in (str, bool, int) and type(value) is hint:
        return value
    raise _wrong(place, _words(hint), value)


_LARGEST = math.nextafter(math.inf, 0)


def _wrong(place: str, wanted: str, value: Any) -> ValueError:
    return ValueError(f"{place} must be {wanted}, but {_shown(value)} was found")


def _words(hint: Any) -> str:
    """Return a type in words."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    words = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    return words.get(hint, "a mapping" if get_origin(hint) is dict else "a list")


def _shown(value: Any) -> str:
    """Return a value as an error shows it: short, and without characters that do something to a terminal."""
    text = ascii(value) if isinstance(value, (str, int, float)) and not _is_huge(value) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_huge(value: Any) -> bool:
    """Return whether a number has more digits than Python writes."""
    return isinstance(value, int) and value.bit_length() > 1000
