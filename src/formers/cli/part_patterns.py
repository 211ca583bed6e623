"""The patterns of pairs that a part is made of: its own, or those of its heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from formers.part import Part
    from formers.patterns import Pattern

_HEADS = 8
"""Heads of the model in whose first layer a mixer is drawn."""


def patterns_of(part: Part) -> dict[str, Pattern]:
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


def pictures_of(part: Part, length: int | None) -> str:
    """Return every pattern of a part in characters."""
    from formers.patterns.picture import pictures

    patterns = patterns_of(part)
    drawn = {heads: pictures(one, drawn_tokens(patterns, length)) for heads, one in patterns.items()}
    return "\n\n".join(f"{heads}\n{lines}".lstrip("\n") for heads, lines in drawn.items())


def drawn_tokens(patterns: Mapping[str, Pattern], length: int | None) -> int:
    """Return how many tokens to draw: as many as are asked for, or as the widest of the patterns needs."""
    from formers.patterns.picture import telling_length

    return length or max(telling_length(pattern) for pattern in patterns.values())
