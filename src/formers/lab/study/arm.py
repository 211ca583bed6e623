"""Arms: named sets of choices that differ from the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Self

from formers.lab.study.choices import choice_text, choices_text, parse_choice, parse_choices
from formers.part import Part


@dataclass(frozen=True)
class Arm:
    """One alternative in a study.

    Attributes:
        name: the arm's name in tables, rows and file names.
        swaps: axis or size → the choice that replaces the base's: a part, its text form, or a number.

    Raises:
        ValueError: for an empty name or a part that does not exist, naming the nearest one.
    """

    name: str
    swaps: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("an arm needs a name")
        object.__setattr__(self, "swaps", {name: parse_choice(name, value) for name, value in self.swaps.items()})

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the arm that `name: mixer=dense, residual=danet` means; without `name:` the choices are the name."""
        name, colon, choices = text.partition(": ")
        return cls(name.strip(), parse_choices(choices)) if colon else cls(text.strip(), parse_choices(text))

    @property
    def text(self) -> str:
        """The text form, which `parse` reads back."""
        return f"{self.name}: {choices_text(self.swaps)}"


def vary(**axes: Sequence[Any]) -> tuple[Arm, ...]:
    """Return one arm for each combination of the alternatives.

    `vary(mixer=["softmax", Linear()], depth=[2, 4])` is four arms, named after what they choose.

    Raises:
        ValueError: where the alternatives of an axis are not a list, or an empty one.
    """
    for name, values in axes.items():
        if isinstance(values, (str, Part)) or not values:
            raise ValueError(f"vary: {name} needs a list of alternatives, not {values!r}")
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return tuple(Arm(_arm_name(swaps), swaps) for swaps in combinations)


def _arm_name(swaps: Mapping[str, Any]) -> str:
    """Return a name for an arm: its parts by themselves, its numbers with what they are a number of."""
    return ", ".join(_name_of_choice(name, parse_choice(name, value)) for name, value in swaps.items())


def _name_of_choice(name: str, value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    only_parts = all(isinstance(part, Part) for part in parts)
    return choice_text(value) if only_parts else f"{name}={choice_text(value)}"
