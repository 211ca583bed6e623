"""Arms: named sets of choices that differ from the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any, Self

from formers.lab.study.alternatives import Alternatives
from formers.lab.study.choices import OF_TASK, choice_text, choices_text, parse_choice, parse_choices
from formers.part import Part, check_names, parse_value, quoted
from formers.part.tokens import tokens
from formers.tasks.task import Task

_MOST_ARMS = 10_000
"""Combinations that `vary` makes at most: more could not be trained."""


@dataclass(frozen=True)
class Arm:
    """One alternative in a study.

    Attributes:
        name: the arm's name in tables, rows and file names.
        swaps: axis or size → the choice that replaces the base's: a part, its text form, or a number. `task.` before a
            name makes it an option of the task, one of its `arm_options`. Of `Alternatives`, `{32, 64}` in text, the
            arm takes the one that is best on validation.

    Raises:
        TypeError: for a name that is no text.
        ValueError: for an empty name, one that is no text in UTF-8, and for a choice that the configuration does not
            take: an option or a part that does not exist, naming the nearest one, or a value out of range.
    """

    name: str
    swaps: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not isinstance(self.swaps, Mapping):
            raise TypeError(f"arm {quoted(self.name)}: choices are a mapping, not {quoted(self.swaps)}")
        try:
            swaps = {name: parse_choice(name, value) for name, value in self.swaps.items()}
        except (ValueError, TypeError) as error:
            raise ValueError(f"arm {quoted(self.name)}: {error}") from error
        object.__setattr__(self, "swaps", swaps)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the arm that `name: mixer=dense, residual=danet` means; without `name:` the choices are the name.

        A name in which `: ` comes is written in quotes.
        """
        name, choices = _split_name(text)
        return cls(name, parse_choices(choices))

    @property
    def alternatives(self) -> dict[str, tuple[Any, ...]]:
        """The choices of which the arm has yet to take one, with their values."""
        return {name: value.values for name, value in self.swaps.items() if isinstance(value, Alternatives)}

    @property
    def first(self) -> Self:
        """The arm with the first of each of its alternatives."""
        return self.taking({name: values[0] for name, values in self.alternatives.items()})

    def taking(self, chosen: Mapping[str, Any]) -> Self:
        """Return the arm, under its own name, with these choices."""
        return replace(self, swaps={**self.swaps, **chosen}) if chosen else self

    @property
    def model_swaps(self) -> dict[str, Any]:
        """The choices that are of the model, without options of the task."""
        return {name: value for name, value in self.swaps.items() if not name.startswith(OF_TASK)}

    @property
    def task_swaps(self) -> dict[str, Any]:
        """The options of the task that are chosen, by their own names."""
        return {name.removeprefix(OF_TASK): self.swaps[name] for name in self.swaps if name.startswith(OF_TASK)}

    def task_of(self, task: Task) -> Task:
        """Return the task of a study with the options that the arm chooses.

        Raises:
            ValueError: for an option in which arms may not differ, and for a value that it does not take.
        """
        if not (chosen := self.task_swaps):
            return task
        try:
            check_names(f"arms on {task.name()}", chosen, list(task.arm_options), word="option of the task")
            return task.swap(**chosen)
        except (ValueError, TypeError) as error:
            raise ValueError(f"arm {quoted(self.name)}: {error}") from error

    @property
    def text(self) -> str:
        """The text form, which `parse` reads back: the name is in quotes where it would be read otherwise without."""
        choices = choices_text(self.swaps)
        plain = f"{self.name}: {choices}"
        return plain if _split_name(plain) == (self.name, choices) else f"{self.name!r}: {choices}"


def _check_name(name: Any) -> None:
    """Raise TypeError for a name that is no text, ValueError for one that cannot be shown or written."""
    if not isinstance(name, str):
        raise TypeError(f"an arm's name is text, not {quoted(name)} ({type(name).__name__}); write it in quotes")
    if not name.strip():
        raise ValueError("an arm needs a name")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"an arm's name is text in UTF-8, but {quoted(name)} is not; write it anew") from None


def _split_name(text: str) -> tuple[str, str]:
    """Return the name and the choices of `name: choices`; without a name the choices are both."""
    first, *others = tokens(text)
    if first.kind == "text" and others[0].text == ":":
        return parse_value(str, first.text), text[others[0].start + 1 :].strip()
    name, colon, choices = text.partition(": ")
    return (name.strip(), choices.strip()) if colon else (text.strip(), text.strip())


def vary(**axes: Sequence[Any]) -> tuple[Arm, ...]:
    """Return one arm for each combination of the alternatives.

    `vary(mixer=["softmax", Linear()], depth=[2, 4])` is four arms, named after what they choose.

    Raises:
        ValueError: where the alternatives of an axis are not a list, or an empty one, and for too many combinations.
    """
    for name, values in axes.items():
        if not isinstance(values, (list, tuple)) or not values:
            raise ValueError(f"vary: {name} needs a list of alternatives, not {quoted(values)}")
    if (count := prod(map(len, axes.values()))) > _MOST_ARMS:
        raise ValueError(f"vary: {count:,} combinations are too many arms; there may be {_MOST_ARMS:,}")
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return tuple(Arm(_arm_name(swaps), swaps) for swaps in combinations)


def _arm_name(swaps: Mapping[str, Any]) -> str:
    """Return a name for an arm: its parts by themselves, its numbers with what they are a number of."""
    return ", ".join(_name_of_choice(name, parse_choice(name, value)) for name, value in swaps.items())


def _name_of_choice(name: str, value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    only_parts = all(isinstance(part, Part) for part in parts)
    return choice_text(value) if only_parts else f"{name}={choice_text(value)}"
