"""Which reference belongs to which part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from formers.part import Part

Reference: TypeAlias = Callable[..., Any]
"""An independent form of a whole part; its arguments depend on the axis, see `formers.testing.references`."""
_Written = TypeVar("_Written", bound=Reference)

_REFERENCES: dict[type[Part], Reference] = {}


def reference(*kinds: type[Part]) -> Callable[[_Written], _Written]:
    """Register a function as the reference of these parts and of the parts derived from them: `@reference(Softmax)`."""

    def register(function: _Written) -> _Written:
        for kind in kinds:
            _REFERENCES[kind] = function
        return function

    return register


def has_reference(part: Part) -> bool:
    """Return whether the part, or one that it is derived from, has a reference."""
    return any(kind in _REFERENCES for kind in type(part).__mro__)


def reference_of(part: Part) -> Reference:
    """Return the part's reference, or that of the nearest part it is derived from. Raise LookupError without one."""
    for kind in type(part).__mro__:
        if kind in _REFERENCES:
            return _REFERENCES[kind]
    raise LookupError(f"{part} has no reference; write one and register it with @reference({type(part).__name__})")


@contextmanager
def with_reference(part: Part, function: Reference | None) -> Iterator[None]:
    """Inside, parts of this class have this reference; None changes nothing."""
    kind, before = type(part), _REFERENCES.get(type(part))
    if function is not None:
        _REFERENCES[kind] = function
    try:
        yield
    finally:
        if function is not None:
            del _REFERENCES[kind]
            if before is not None:
                _REFERENCES[kind] = before
