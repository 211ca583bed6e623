"""Everything about a part: as facts, and as a page of text."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from formers.cli.part_patterns import pictures_of

if TYPE_CHECKING:
    from formers.part import Part


def part_facts(kind: type[Part], axis: str) -> dict[str, Any]:
    """Return name, axis, documentation, options, abilities and place of the code, of types that JSON has."""
    from formers.part import ABILITIES, default_of, describe, option_hints, value_json

    docs, hints = kind.option_docs(), option_hints(kind)
    options = {}
    for field in fields(kind):  # type: ignore[arg-type]
        default = default_of(field)
        given = {} if default is MISSING else {"default": value_json(default)}
        options[field.name] = given | {"type": describe(hints[field.name]), "meaning": docs[field.name]}
    return {
        "name": kind.name(),
        "axis": axis,
        "documentation": inspect.cleandoc(kind.__doc__ or ""),
        "options": options,
        "abilities": {name: ABILITIES[name] for name in ABILITIES if name in kind.can},
        "code": f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}",
    }


def part_page(kind: type[Part], axis: str, *, code: bool, length: int | None) -> str:
    """Return the facts about a part as text, with its picture if it is a pattern, costs, and its source with `code`."""
    from formers.patterns import Pattern

    facts = part_facts(kind, axis)
    blocks = [f"{facts['name']}  ({axis})", facts["documentation"]]
    if options := _option_lines(kind, facts["options"]):
        blocks.append("Options\n" + "\n".join(options))
    if facts["abilities"]:
        blocks.append("Can\n" + "\n".join(f"  {name}: {meaning}" for name, meaning in facts["abilities"].items()))
    if issubclass(kind, Pattern) and (picture := pictures_of(kind(), length)):
        blocks.append("Picture\n" + picture)
    if costs := costs_of(kind):
        blocks.append(costs)
    blocks.append(f"Code\n  {facts['code']}")
    if code:
        blocks.append(source_of(kind))
    return "\n\n".join(blocks)


def source_of(kind: type[Part]) -> str:
    """Return the text of the file that a kind of part is in."""
    return inspect.getsource(inspect.getmodule(kind) or kind).rstrip()


def costs_of(part: Part | type[Part]) -> str:
    """Return the costs of a memory as text; of one with its defaults for a class, and nothing for other parts."""
    from formers.cli.memory_costs import memory_costs
    from formers.memory import Memory

    if isinstance(part, type):
        return memory_costs(part()) if issubclass(part, Memory) else ""
    return memory_costs(part) if isinstance(part, Memory) else ""


def _option_lines(kind: type[Part], options: dict[str, Any]) -> list[str]:
    """Return name, default, type and meaning of each option."""
    from formers.part import default_of, value_text

    defaults = {field.name: default_of(field) for field in fields(kind)}  # type: ignore[arg-type]
    lines = []
    for name, option in options.items():
        value = "needed" if defaults[name] is MISSING else value_text(defaults[name])
        lines += [f"  {name} = {value}   ({option['type']})"]
        lines += [f"      {line}" for line in option["meaning"].splitlines()]
    return lines
