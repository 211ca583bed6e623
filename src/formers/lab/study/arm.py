"""Arms: named sets of choices that differ from the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Self

from formers.lab.study.choices import choice, choices_text, parse_choices, value_text
from formers.part import Part


@dataclass(frozen=True)
class Arm:
    """One alternative in a study: a name, and the choices swapped into the base (parts or their text, and numbers)."""

    name: str
    swaps: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ValueError("an arm needs a name")
        object.__setattr__(self, "swaps", {name: choice(name, value) for name, value in self.swaps.items()})

    @classmethod
    def parse(cls, text: str) -> Self:
        """The arm that `name: mixer=dense, residual=danet` means; without `name:` the choices are the name."""
        name, mark, choices = text.partition(": ")
        return cls(name.strip(), parse_choices(choices)) if mark else cls(text.strip(), parse_choices(text))

    @property
    def text(self) -> str:
        """The text form, which `parse` reads back."""
        return f"{self.name}: {choices_text(self.swaps)}"


def vary(**axes: Sequence[Any]) -> tuple[Arm, ...]:
    """One arm for each combination of the alternatives: `vary(mixer=["softmax", Linear()], depth=[2, 4])` is four arms."""
    for name, values in axes.items():
        if isinstance(values, (str, Part)) or not values:
            raise ValueError(f"vary: {name} needs a list of alternatives, not {values!r}")
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return tuple(Arm(_label(swaps), swaps) for swaps in combinations)


def _label(swaps: Mapping[str, Any]) -> str:
    """A name for an arm: parts speak for themselves, numbers need their axis."""
    return ", ".join(_label_of(name, choice(name, value)) for name, value in swaps.items())


def _label_of(name: str, value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    spoken = all(isinstance(part, Part) for part in parts)
    return value_text(value) if spoken else f"{name}={value_text(value)}"
