"""JSON read as values of declared types: dataclasses, whose fields are numbers, texts, tuples and dictionaries."""

from __future__ import annotations

import math
import types
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

_T = TypeVar("_T")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Numbers that strict JSON lacks, as text."""
_SHOWN, _LARGEST = 60, 2**63
_Kind: TypeAlias = Any


class WrongJson(ValueError):
    """A JSON value that is not of the type which is expected in its place."""


def record_from_json(kind: type[_T], data: Any, where: str = "") -> _T:
    """Return the dataclass `kind` with the fields in a JSON object; those that are left out have their defaults.

    Whole numbers fit in 64 bits. Objects are dictionaries, lists are tuples, and `NaN`, `Infinity` and `-Infinity` may
    be text.

    Raises:
        WrongJson: for a field that is missing, unknown, or of another type; `where` is the place that it names.
    """
    if not isinstance(data, dict):
        raise _wrong(where or kind.__name__, "an object", data)
    known = {field.name: field for field in fields(cast(Any, kind))}
    if unknown := [name for name in data if name not in known]:
        raise WrongJson(f"{where or kind.__name__} has no {_shown(unknown[0])}")
    needed = [f.name for f in known.values() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in data]:
        raise WrongJson(f"{where or kind.__name__} holds no {missing[0]!r}")
    hints = _hints(cast(Any, kind))
    start = f"{where}." if where else ""
    return kind(**{name: _value(hints[name], value, f"{start}{name}") for name, value in data.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(kind: _Kind, value: Any, where: str) -> Any:
    """Return a JSON value as one of the type `kind`."""
    origin: Any = get_origin(kind)
    arguments = get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return None if value is None else _value(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise _wrong(where, f"one of {', '.join(map(repr, arguments))}", value)
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        return {name: _value(arguments[1], item, f"{where}.{_shown(name)}") for name, item in value.items()}
    return record_from_json(cast(Any, kind), value, where) if is_dataclass(kind) else _plain(kind, value, where)


def _plain(kind: _Kind, value: Any, where: str) -> Any:
    """Return a number, a text, or true or false."""
    if kind is float:
        if isinstance(value, str) and value in _SPECIAL:
            return _SPECIAL[value]
        if type(value) not in (int, float) or (isinstance(value, int) and abs(value) >= _LARGEST):
            raise _wrong(where, "a number", value)
        return float(value)
    if type(value) is not kind:
        raise _wrong(where, {int: "a whole number", str: "a text", bool: "true or false"}[kind], value)
    if kind is int and abs(value) >= _LARGEST:
        raise _wrong(where, "a whole number of at most 64 bits", value)
    return value


def _wrong(where: str, expected: str, value: Any) -> WrongJson:
    return WrongJson(f"{where} must be {expected}, not {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a short text for any value, however large."""
    if isinstance(value, (dict, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return "a number of more than 64 bits"
    text = repr(value[: 2 * _SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
