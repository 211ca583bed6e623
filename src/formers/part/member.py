"""Members of axes: classes that have a name in text, options, and siblings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, ClassVar, Self, TypeVar

from formers.part.quoted import quoted
from formers.part.unsupported import check_names


class Member:
    """Name, options and siblings of a part's class: the base that text form, JSON form and option types work on."""

    axis: ClassVar[type[Any]]
    "The axis a part belongs to: the direct subclass of `Part` it descends from."
    added: ClassVar[Mapping[str, Any]] = {}
    """Options that the class got after models were saved → the value that JSON without them means. `to_json` leaves
    such a value out, so that saved models and the fingerprints of runs stay what they were."""
    starts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Options that set nothing but what weights or buffers of the part's module start as → the ends of these names. In
    a model that keeps a trained one's weights such an option has no effect; `convert_weights` then says so."""
    positional: ClassVar[bool] = False
    "Whether options may be given by their order, too: `Window(128)`. An axis decides for all its members."

    @classmethod
    def name(cls) -> str:
        """Return the part's name in text: the class name in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def kinds(cls) -> tuple[type[Self], ...]:
        """Return every member of this axis that has been imported and can be built, in order of definition."""
        found: list[type[Self]] = []
        for kind in cls.__subclasses__():
            found += [kind, *kind.kinds()] if not kind.__name__.startswith("_") else kind.kinds()
        newest = {(kind.__module__, kind.__qualname__): kind for kind in found}  # of a class that is defined again
        return tuple(newest.values())

    @classmethod
    def is_axis(cls) -> bool:
        """Return whether the class is an axis, which has members, and not a member itself."""
        return cls.__dict__.get("axis") is cls and bool(cls.kinds())


Axis = TypeVar("Axis", bound=Member)


HOW_TO_NAME_OWN = "a part of your own is known once its file was imported, or named with --parts file.py"
"""The end of the error for a name that resembles no other."""


def members_in(namespace: Mapping[str, object], axis: type[Axis]) -> tuple[type[Axis], ...]:
    """Return the members of an axis that a module's namespace lists, in its order, without the axis itself."""
    kinds = [value for value in namespace.values() if isinstance(value, type) and issubclass(value, axis)]
    return tuple(kind for kind in dict.fromkeys(kinds) if kind is not axis)


def find(axis: type[Member], name: str) -> type[Any]:
    """Return the member of an axis with this name (`squared_relu` or `SquaredRelu`).

    Raise ValueError with the nearest name if there is none.
    """
    kinds = axis.kinds() or (axis,)
    for kind in (axis, *kinds):
        if name in (kind.name(), kind.__name__) and not kind.is_axis():
            return kind
    check_names(axis.name(), [name], [kind.name() for kind in kinds], word="member", unlike=HOW_TO_NAME_OWN)
    raise ValueError(f"{quoted(name)} is an axis, not a part; {example(axis)}")


def find_beside(kind: type[Member], name: str) -> type[Any]:
    """Return the member with this name on the axis of a class; of several, the class itself or one under it.

    A text of a class's part may begin with another's: `every & every` is a `Both`.
    """
    inside = any(name in (one.name(), one.__name__) for one in (kind, *kind.kinds()))
    return find(kind if inside else axis_of(kind), name)


def axis_of(kind: type[Member]) -> type[Member]:
    """Return the axis that a class is on, or is."""
    axis: type[Member] = getattr(kind, "axis", kind)
    return axis


def option_names(kind: type[Member]) -> list[str]:
    """Return the names of a part's options, in order."""
    return [f.name for f in fields(kind)]  # type: ignore[arg-type]


def default_of(field: Any) -> Any:
    """Return the default of a dataclass field; MISSING if it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def made(kind: type[Any], options: Mapping[str, Any]) -> Any:
    """Return the part of a class with these options. Raise TypeError where one is missing that has no default."""
    needed = [f.name for f in fields(kind) if default_of(f) is MISSING and f.name not in options]
    if needed:
        raise TypeError(f"{kind.name()} needs {' and '.join(needed)}; write {example_call(kind)}")
    return kind(**options)


def example_call(kind: type[Member]) -> str:
    """Return how to write a part with its options: `name(option=…)`."""
    return f"{kind.name()}({', '.join(f'{name}=…' for name in option_names(kind))})"


def example(axis: type[Member]) -> str:
    """Return the end of an error message that says what may be written on an axis."""
    kinds = axis.kinds() or (axis,)
    return f"write one of {', '.join(sorted(kind.name() for kind in kinds))}, with options as in name(option=value)"
