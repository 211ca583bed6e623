"""`formers show`: explain one part."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from formers.cli.listing import parts_by_axis
from formers.cli.say import say

if TYPE_CHECKING:
    from formers.part import Part
    from formers.patterns import Pattern


def show(
    part: Annotated[
        str,
        typer.Argument(
            help="A part or task, such as linear, with options if you like: 'linear(feature=taylor2)', "
            "'window(4) | global(0)'."
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
) -> None:
    """Explain a part: what it computes, its options, what it can do, where it comes from, and where its code is.

    \b
    formers show linear
    formers show rotary --code
    formers show 'window(4) | global(0)'
    formers show 'recurrent(length=64)'
    formers show performer --png weights.png
    formers show 'longformer(window=[4], dilation=[1, 2])' --png longformer.png --length 64
    """
    if "(" in part:
        shown: list[Part] = [_read(part)]
        say(_page_of(shown[0], code, length))
    else:
        kinds = _named(part)
        shown = [kind() for _, kind in kinds if png is not None]
        say("\n\n".join(_page(kind, axis, code, length) for axis, kind in kinds))
    if png is not None:
        _draw(shown, length, png)


def _read(text: str) -> Part:
    """Return the part that a text means; an expression over patterns is a pattern."""
    from formers.patterns import Pattern

    name = text.split("(")[0].strip()
    axes = [kind.axis for kinds in parts_by_axis().values() for kind in kinds if name in (kind.name(), kind.__name__)]
    read: Part = (axes[0] if axes else Pattern).parse(text)
    return read


def _page_of(part: Part, code: bool, length: int | None) -> str:
    """Return a part with its options as text, and what follows from them; the page of its kind if nothing does."""
    found = _costs_of(part) or _pictures_of(part, length)
    return f"{part}\n\n{found or _page(type(part), part.axis.name(), code, length)}"


def _draw(shown: list[Part], length: int | None, png: Path) -> None:
    """Write the first of the parts that has a pattern into a picture, or the first that gives weights."""
    from formers.cli.mask_image import save_masks
    from formers.cli.weights_image import save_weights
    from formers.mixers import Mixer, Softmax
    from formers.mixers.feature_maps import FeatureMap
    from formers.positions import Position

    for part in shown:
        if patterns := _patterns_of(part):
            save_masks(str(part), patterns, directions_of(part), _drawn_tokens(patterns, length), png)
            break
        mixer = Mixer.parse(f"linear(feature={part})") if isinstance(part, FeatureMap) else Softmax()
        mixer, position = (part, None) if isinstance(part, Mixer) else (mixer, part)
        if isinstance(part, (Mixer, FeatureMap, Position)):
            at = position if isinstance(position, Position) else None
            save_weights(mixer, at, directions_of(mixer), length or _EXAMPLE_TOKENS, png)
            break
    else:
        raise ValueError(f"{', '.join(map(str, shown))}: only patterns, mixers, features and positions can be drawn")
    say(f"\nwrote {png}")


def _drawn_tokens(patterns: Mapping[str, Pattern], length: int | None) -> int:
    """Return how many tokens to draw: as many as are asked for, or as the widest of the patterns needs."""
    from formers.patterns.picture import telling_length

    return length or max(telling_length(pattern) for pattern in patterns.values())


def _named(name: str) -> list[tuple[str, type[Part]]]:
    """Return every part with this name, with its axis. Raise `ValueError` with the nearest name if there is none."""
    from formers.part import check_names

    groups = parts_by_axis()
    found = [(axis, kind) for axis, kinds in groups.items() for kind in kinds if name in (kind.name(), kind.__name__)]
    if not found:
        known = [kind.name() for kinds in groups.values() for kind in kinds]
        check_names("formers", [name], known, word="part")
    return found


def _page(kind: type[Part], axis: str, code: bool, length: int | None) -> str:
    """Return everything about a part, as text."""
    from formers.patterns import Pattern

    blocks = [f"{kind.name()}  ({axis})", inspect.cleandoc(kind.__doc__ or "")]
    if options := _option_lines(kind):
        blocks.append("Options\n" + "\n".join(options))
    if abilities := _ability_lines(kind):
        blocks.append("Can\n" + "\n".join(abilities))
    if issubclass(kind, Pattern) and (picture := _pictures_of(kind(), length)):
        blocks.append("Picture\n" + picture)
    if costs := _costs_of(kind):
        blocks.append(costs)
    blocks.append(f"Code\n  {inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}")
    if code:
        blocks.append(inspect.getsource(inspect.getmodule(kind) or kind).rstrip())
    return "\n\n".join(blocks)


def _costs_of(part: Part | type[Part]) -> str:
    """Return the costs of a memory as text; of one with its defaults for a class, and nothing for other parts."""
    from formers.cli.memory_costs import memory_costs
    from formers.memory import Memory

    if isinstance(part, type):
        return memory_costs(part()) if issubclass(part, Memory) else ""
    return memory_costs(part) if isinstance(part, Memory) else ""


_HEADS = 8
"""Heads of the model in whose first layer a mixer is drawn."""
_EXAMPLE_TOKENS = 32
"""Tokens of the example that weights are drawn on."""


def _patterns_of(part: Part) -> dict[str, Pattern]:
    """Return heads → their pattern: a pattern's own, or each different one of a mixer; empty for other parts."""
    from formers.part import Site
    from formers.patterns import Pattern

    if isinstance(part, Pattern):
        return {"": part}
    if not hasattr(part, "patterns"):
        return {}
    patterns: tuple[Pattern, ...] = part.patterns(Site(width=8 * _HEADS, heads=_HEADS, causal=False))
    heads = {one: [head for head in range(_HEADS) if patterns[head % len(patterns)] == one] for one in patterns}
    if len(heads) == 1:
        return {"": patterns[0]}
    return {f"head{'s' * (len(which) > 1)} {', '.join(map(str, which))}": one for one, which in heads.items()}


def directions_of(part: Part) -> list[bool]:
    """Return the values of `causal` for which there is something to draw: both for a pattern."""
    from formers.patterns import Pattern

    abilities = {"bidirectional": False, "causal": True}
    return [causal for name, causal in abilities.items() if isinstance(part, Pattern) or name in part.abilities]


def _pictures_of(part: Part, length: int | None) -> str:
    """Return every pattern of a part in characters."""
    from formers.patterns.picture import pictures

    patterns = _patterns_of(part)
    drawn = {heads: pictures(one, _drawn_tokens(patterns, length)) for heads, one in patterns.items()}
    return "\n\n".join(f"{heads}\n{lines}".lstrip("\n") for heads, lines in drawn.items())


def _option_lines(kind: type[Part]) -> list[str]:
    """Return name, type, default and meaning of each option."""
    from formers.part import default_of, describe, option_hints, value_text

    docs, hints, lines = kind.option_docs(), option_hints(kind), list[str]()
    for field in fields(kind):  # type: ignore[arg-type]
        default = default_of(field)
        value = "needed" if default is MISSING else value_text(default)
        lines += [f"  {field.name} = {value}   ({describe(hints[field.name])})"]
        lines += [f"      {line}" for line in docs[field.name].splitlines()]
    return lines


def _ability_lines(kind: type[Part]) -> list[str]:
    from formers.part import ABILITIES

    return [f"  {name}: {ABILITIES[name]}" for name in ABILITIES if name in kind.can]
