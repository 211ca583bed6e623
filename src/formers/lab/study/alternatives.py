"""Alternatives: values of an option of which each arm takes the one that is best on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from formers.part import check_names, quoted

SEARCHED_OF_BUDGET = ("learning_rate", "warmup", "weight_decay", "clip", "batch_size")
"""Options of the budget that may be searched: those of which more is not simply better."""
_MOST = 100
"""Alternatives of one option."""


@dataclass(frozen=True)
class Alternatives:
    """Values of one choice of an arm, written `{softmax, linear}` or `{32, 64}`; the first stands for all of them."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_alternatives("an arm", self.values)


def check_alternatives(what: str, values: Sequence[Any]) -> None:
    """Raise ValueError for fewer than two values, for too many, and for one that comes twice."""
    if len(values) < 2:
        raise ValueError(f"{what}: alternatives are two values or more, not {quoted(list(values))}; write one without")
    if len(values) > _MOST:
        raise ValueError(f"{what}: there may be {_MOST} alternatives, not {len(values):,}")
    if twice := [value for n, value in enumerate(values) if value in values[:n]]:
        raise ValueError(f"{what}: {quoted(twice[0])} comes twice among the alternatives")


def check_search(search: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return option of the budget → its alternatives, those with a single one left out.

    Raises:
        ValueError: for an option that cannot be searched, and for no list of different values.
    """
    for name in ("steps", "evaluations"):
        if name in search:
            raise ValueError(
                f"search: {name} is what every arm is given alike, so it cannot be a list; give one number"
            )
    check_names("search", search, list(SEARCHED_OF_BUDGET), word="option of the budget that may be a list")
    for name, values in search.items():
        if not isinstance(values, (list, tuple)):
            raise ValueError(f"search: {name} needs a list such as [0.001, 0.003], not {quoted(values)}")
    several = {name: tuple(values) for name, values in search.items() if len(values) != 1}
    for name, values in several.items():
        check_alternatives(f"search: {name}", values)
    return several
