"""`formers show`: explain one part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from formers.cli import options
from formers.cli.completion import part_names
from formers.cli.listing import parts_by_axis
from formers.cli.part_page import costs_of, part_facts, part_page, source_of
from formers.cli.part_patterns import patterns_of, pictures_of
from formers.cli.say import say

if TYPE_CHECKING:
    from formers.part import Part


def show(
    part: Annotated[
        str,
        typer.Argument(
            help="A part or task, such as linear, with options if you like: 'linear(feature=taylor2)', "
            "'window(4) | global(0)'.",
            autocompletion=part_names,
        ),
    ],
    code: Annotated[bool, typer.Option("--code", help="Print its source, too.")] = False,
    png: Annotated[
        Path | None,
        typer.Option("--png", help="Draw its pattern into this file, or the weights that it gives on a short text."),
    ] = None,
    length: Annotated[
        int | None, typer.Option(help="How many tokens to draw.", min=1, show_default="as many as show it")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
    parts: options.Parts = None,
) -> None:
    """Explain a part: formula, options, abilities, source, code.

    \b
    formers show linear
    formers show rotary --code
    formers show 'window(4) | global(0)'
    formers show 'recurrent(length=64)'
    formers show performer --png weights.png
    formers show 'longformer(window=[4], dilation=[1, 2])' --png longformer.png --length 64
    """
    from formers.patterns import Pattern

    if as_json:
        say(json.dumps([part_facts(kind, axis) for axis, kind in _named(part.split("(")[0].strip())], indent=1))
        return
    if "(" in part:
        shown: list[Part] = [_read(part)]
        _check_length(length, png, bool(patterns_of(shown[0])))
        say(_page_of(shown[0], code, length))
    else:
        kinds = _named(part)
        _check_length(length, png, any(issubclass(kind, Pattern) for _, kind in kinds))
        shown = [kind() for _, kind in kinds if png is not None]
        say("\n\n".join(part_page(kind, axis, code=code, length=length) for axis, kind in kinds))
    if png is not None:
        _draw(shown, length, png)


def _check_length(length: int | None, png: Path | None, is_drawn: bool) -> None:
    """Raise ValueError for a length of a picture that is not drawn."""
    if length is not None and png is None and not is_drawn:
        raise ValueError("--length is of a picture, and no pattern is drawn here; leave it out, or give --png")


def _read(text: str) -> Part:
    """Return the part that a text means; an expression over patterns is a pattern."""
    from formers.patterns import Pattern

    name = text.split("(")[0].strip()
    axes = [kind.axis for kinds in parts_by_axis().values() for kind in kinds if name in (kind.name(), kind.__name__)]
    read: Part = (axes[0] if axes else Pattern).parse(text)
    return read


def _page_of(part: Part, code: bool, length: int | None) -> str:
    """Return a part with its options as text, and what follows from them; the page of its kind if nothing does."""
    found = costs_of(part) or pictures_of(part, length)
    if found and code:
        found += f"\n\n{source_of(type(part))}"
    return f"{part}\n\n{found or part_page(type(part), part.axis.name(), code=code, length=length)}"


def _draw(shown: list[Part], length: int | None, png: Path) -> None:
    """Write the first of the parts that can be drawn into a picture."""
    from formers.cli.part_image import can_be_drawn, draw_part

    drawn = next((part for part in shown if can_be_drawn(part)), None)
    if drawn is None:
        raise ValueError(f"{', '.join(map(str, shown))}: only patterns, mixers, features and positions can be drawn")
    draw_part(drawn, length, png)
    say(f"\nwrote {png}")


def _named(name: str) -> list[tuple[str, type[Part]]]:
    """Return every part with this name, with its axis. Raise `ValueError` with the nearest name if there is none."""
    from formers.part import check_names
    from formers.part.member import HOW_TO_NAME_OWN

    groups = parts_by_axis()
    found = [(axis, kind) for axis, kinds in groups.items() for kind in kinds if name in (kind.name(), kind.__name__)]
    if not found:
        known = [kind.name() for kinds in groups.values() for kind in kinds]
        check_names("formers", [name], known, word="part", unlike=HOW_TO_NAME_OWN)
    return found
