"""The JSON form of parts and of their options, as `config.json` and rows hold it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from formers.part.annotations import option_hints
from formers.part.member import Member, find, made, option_names
from formers.part.nesting import check_nesting
from formers.part.option_types import part_hint
from formers.part.quoted import quoted
from formers.part.unsupported import check_names


def value_json(value: Any) -> Any:
    """Return an option's value in JSON: a part as a dictionary, a tuple as a list."""
    if isinstance(value, Member):
        options = {f.name: getattr(value, f.name) for f in fields(value)}  # type: ignore[arg-type]
        written = {name: one for name, one in options.items() if name not in value.added or one != value.added[name]}
        return {"part": value.name()} | {name: value_json(one) for name, one in written.items()}
    return [value_json(item) for item in value] if isinstance(value, (tuple, list)) else value


def part_from_json(axis: type[Member], data: Any) -> Any:
    """Return the part of an axis that `value_json` described. Raise ValueError or TypeError with what is wrong."""
    check_nesting(data)
    return _part(axis, data)


def _part(axis: type[Member], data: Any) -> Any:
    """Return the part that a dictionary describes, whose depth has been checked."""
    if not isinstance(data, dict) or not isinstance(data.get("part"), str):
        raise ValueError(
            f'expected {{"part": name, option: value, …}} for a {axis.name()}, but {quoted(data)} was given'
        )
    kind = find(axis, data["part"])
    hints = option_hints(kind)
    options = {key: value for key, value in data.items() if key != "part"}
    check_names(kind.name(), options, option_names(kind))
    return made(kind, {**kind.added, **{key: _from_json(value, hints[key]) for key, value in options.items()}})


def _from_json(value: Any, hint: Any) -> Any:
    """Return a JSON value as the hint wants it; dictionaries become parts of the hinted axis."""
    if isinstance(value, dict):
        return _part(part_hint(hint), value)
    return tuple(_from_json(item, hint) for item in value) if isinstance(value, list) else value
