"""`formers show`: explain one part."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Annotated, get_type_hints

import typer

from formers.cli.listing import parts_by_axis

if TYPE_CHECKING:
    from formers.part import Part


def show(
    part: Annotated[
        str, typer.Argument(help="A part or task, such as linear, or a pattern in full: 'window(4) | global(0)'.")
    ],
    code: Annotated[bool, typer.Option("--code", help="Print its source, too.")] = False,
) -> None:
    """Explain a part: what it computes, its options, what it can do, where it comes from, and where its code is.

    \b
    formers show linear
    formers show rotary --code
    formers show 'window(4) | global(0)'
    """
    if "(" in part:
        from formers.patterns import Pattern

        typer.echo(f"{Pattern.parse(part)}\n\n{pictures_of(Pattern.parse(part))}")
        return
    typer.echo("\n\n".join(page(kind, axis, code) for axis, kind in named(part)))


def named(name: str) -> list[tuple[str, type[Part]]]:
    """Every part with this name, with its axis. Raises `ValueError` with the nearest name where there is none."""
    from formers.part import check_names

    groups = parts_by_axis()
    found = [(axis, kind) for axis, kinds in groups.items() for kind in kinds if name in (kind.name(), kind.__name__)]
    if not found:
        known = [kind.name() for kinds in groups.values() for kind in kinds]
        check_names("formers", [name], known, word="part")
    return found


def page(kind: type[Part], axis: str, code: bool) -> str:
    """Everything about a part, as text."""
    blocks = [f"{kind.name()}  ({axis})", inspect.cleandoc(kind.__doc__ or "")]
    if options := option_lines(kind):
        blocks.append("Options\n" + "\n".join(options))
    if abilities := ability_lines(kind):
        blocks.append("Can\n" + "\n".join(abilities))
    if picture := pictures_of(kind):
        blocks.append("Picture\n" + picture)
    blocks.append(f"Code\n  {inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}")
    if code:
        blocks.append(inspect.getsource(inspect.getmodule(kind) or kind).rstrip())
    return "\n\n".join(blocks)


def pictures_of(part: Part | type[Part]) -> str:
    """A pattern, or one with its defaults, drawn; nothing for other parts."""
    from formers.patterns import Pattern
    from formers.patterns.picture import pictures

    made = part() if isinstance(part, type) and issubclass(part, Pattern) else part
    return pictures(made) if isinstance(made, Pattern) else ""


def option_lines(kind: type[Part]) -> list[str]:
    """Name, type, default and meaning of each option."""
    from formers.part import default_of, describe, value_text

    docs, hints, lines = kind.option_docs(), get_type_hints(kind), list[str]()
    for field in fields(kind):  # type: ignore[arg-type]
        default = default_of(field)
        value = "needed" if default is MISSING else value_text(default)
        lines += [f"  {field.name} = {value}   ({describe(hints[field.name])})"]
        lines += [f"      {line}" for line in docs[field.name].splitlines()]
    return lines


def ability_lines(kind: type[Part]) -> list[str]:
    from formers.part import ABILITIES

    return [f"  {name}: {ABILITIES[name]}" for name in ABILITIES if name in kind.can]
