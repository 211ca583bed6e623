"""Annotations of options: read once for each class, and refused where values cannot be checked against them."""

from __future__ import annotations

import types
from dataclasses import fields
from inspect import get_annotations
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from formers.part.member import Member
from formers.part.quoted import quoted

_HINTS = WeakKeyDictionary[type[Member], dict[str, Any]]()
"""Classes → the types of their options, once they have been read."""


def option_hints(kind: type[Member]) -> dict[str, Any]:
    """Return the types of a part's options, by name.

    Raise TypeError with class and option for an annotation that Python cannot read, or that is no type of an option.
    """
    if kind not in _HINTS:
        annotations = {
            name: (owner, annotation)
            for owner in reversed(kind.__mro__)
            for name, annotation in get_annotations(owner).items()
        }
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        _HINTS[kind] = {name: _hint(kind, name, *annotations[name]) for name in names}
    return _HINTS[kind]


def _hint(kind: type[Member], name: str, owner: type[Any], annotation: Any) -> Any:
    """Return the type that an option's annotation means, in the module of the class that has it."""
    alone = type(owner.__name__, (), {"__annotations__": {name: annotation}, "__module__": owner.__module__})
    given = quoted(annotation if isinstance(annotation, str) else repr(annotation))
    advice = "annotate it with bool, int, float, str, a Literal, an axis of parts, or tuple[…, ...] of one of them"
    try:
        hint = get_type_hints(alone)[name]
    except Exception as error:  # an annotation is code, and may raise anything
        reason = f"{type(error).__name__}: {quoted(str(error))}"
        raise TypeError(f"option {name} of {kind.__name__} is annotated with {given} ({reason}); {advice}") from error
    if not _is_option_type(hint):
        raise TypeError(f"option {name} of {kind.__name__} is annotated with {given}, which is no type; {advice}")
    return hint


def _is_option_type(hint: Any) -> bool:
    """Return whether values can be checked against a type."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return all(map(_is_option_type, get_args(hint)))
    if origin is tuple:
        return get_args(hint)[1:] == (...,) and _is_option_type(get_args(hint)[0])
    return origin is Literal or (origin is None and isinstance(hint, type))
