"""The space of a larger search: options and their values, what a trial may cost, and how many trials there are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from formers.lab.study.alternatives import SEARCHED_OF_BUDGET
from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.choices import choice_text, parse_choice, split_top_level
from formers.lab.study.cost_limits import limits_texts, parse_limits
from formers.lab.study.searched_values import Draws, NumberRange, Searched, parse_values
from formers.part import quoted

_SHORT = {"lr": "learning_rate", "batch": "batch_size"}
"""Names on the command line → names of the budget."""
_REAL = tuple(name for name in SEARCHED_OF_BUDGET if name != "batch_size")
_LIKE_ALL = ("steps", "evaluations", "stages", "seeds")
_MOST = {"trials": 100_000, "front": 1000, "together": 1000}
_ALONE: Mapping[str, float] = {"parameters": math.inf}


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What a search draws its trials from, and how many of them it trains.

    Attributes:
        options: option of the model, of its parts, of the budget or (`task.`) of the task → its values: a list
            `softmax, linear`; a range `1..6` of whole numbers or `0.0..0.3` of all between, on a logarithmic scale
            `log(1e-4..1e-2)`; or parts with values in their brackets, `performer(features=log(8..256)),
            linear(feature={elu, relu})`. Optuna draws trials from them, by TPE with two objectives: quality on
            validation, and the first cost of `under`.
        under: what a trial may cost, such as `parameters=200k, state=64KiB, flops=2M, latency=5ms`. A trial beyond it
            is not trained. The front is that of quality against the first; against parameters, without limit, where
            none is given. Latency is that of a forward pass over one example on this machine.
        trials: how many are trained; those that are beyond `under`, or known already, do not count.
        front: how many trials of the front are trained again with the seeds that rank, at most: the cheapest, the best,
            and others evenly between them.
        together: trials that are drawn before any of them has a result, so that executors may train them side by side.
            Which trials there are depends on this number, and not on the executor.

    Raises:
        ValueError: for an option that cannot be searched, and values that it cannot have.
    """

    options: Mapping[str, str]
    under: Mapping[str, float] = field(default_factory=dict)
    trials: int = 30
    front: int = 8
    together: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.options, Mapping) or not self.options:
            raise ValueError(f"search: write options and their values, not {quoted(self.options)}")
        options = {_SHORT.get(name, name): _text(name, values) for name, values in self.options.items()}
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "under", parse_limits(self.under) or dict(_ALONE))
        for name, most in _MOST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is a whole number from 1 to {most:,}, not {quoted(value)}")
        for name, searched in self.values.items():
            for text in searched.extremes():
                self._check(name, text)

    @cached_property
    def values(self) -> dict[str, Searched]:
        """The options with their values, as they are drawn."""
        found = {name: parse_values(name, text) for name, text in self.options.items()}
        return {name: _in_reals(it) if name in _REAL else it for name, it in found.items()}

    @property
    def parts(self) -> list[Any]:
        """The values of the choices of the model."""
        drawn = [(name, text) for name, it in self.values.items() for text in it.extremes()]
        return [parse_choice(name, text) for name, text in drawn if name not in SEARCHED_OF_BUDGET]

    @property
    def cost(self) -> str:
        """The cost that the front holds quality against."""
        return next(iter(self.under))

    def draw(self, draws: Draws) -> dict[str, str]:
        """Return option → a value for it, as text in its shortest form."""
        drawn = {name: searched.draw(draws) for name, searched in self.values.items()}
        return {name: text if name in SEARCHED_OF_BUDGET else _plain(name, text) for name, text in drawn.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the space in the schema of study files; `together` only where it is not as usual."""
        under = {"under": limits_texts(self.under)} if self.under != _ALONE else {}
        together = {"together": self.together} if self.together != SearchSpace.together else {}
        return {"search": dict(self.options), **under, "trials": self.trials, "front": self.front, **together}

    def _check(self, name: str, text: str) -> None:
        """Raise ValueError for an option that cannot be searched, and for a value that it cannot have."""
        if name in _LIKE_ALL:
            raise ValueError(f"search: {name} is what every arm is given alike, so it cannot be searched")
        try:
            if name in SEARCHED_OF_BUDGET:
                replace(Budget(), **{name: budget_value(text)})
            else:
                parse_choice(name, text)
        except (TypeError, ValueError) as error:
            raise ValueError(f"search: {name}={text}: {error}") from error


def chosen(options: Mapping[str, str], name: str, budget: Budget) -> tuple[Arm, Budget]:
    """Return the arm and the budget that the options of a trial mean. Raise ValueError for values that they lack."""
    of_budget = {option: budget_value(text) for option, text in options.items() if option in SEARCHED_OF_BUDGET}
    swaps = {option: text for option, text in options.items() if option not in SEARCHED_OF_BUDGET}
    return Arm(name, swaps), replace(budget, **of_budget)


def budget_value(text: str) -> Any:
    """Return the number that a text is; any other text as it is, which the budget refuses with its name."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def search_from_texts(texts: list[str]) -> dict[str, str]:
    """Return option → its values for texts such as `mixer=softmax,linear`. Raise ValueError for one given twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, values = (piece.strip() for piece in text.partition("="))
        if not equals or not name or not values:
            raise ValueError(f"search: cannot read {quoted(text)}; write name=values, as in mixer=softmax,linear")
        if name in found:
            raise ValueError(f"search: {name} is given twice; write its values in one list")
        found[name] = values
    return found


def _in_reals(searched: Searched) -> Searched:
    """Return a range as one of all numbers between its ends."""
    if not isinstance(searched, NumberRange):
        return searched
    return replace(searched, low=float(searched.low), high=float(searched.high))


def _text(name: Any, values: Any) -> str:
    """Return the values of an option as text; a list of them as YAML has it joined by commas."""
    if not isinstance(name, str):
        raise ValueError(f"search: the name of an option is text, not {quoted(name)}")
    if isinstance(values, (list, tuple)) and values:
        return ", ".join(value if isinstance(value, str) else choice_text(value) for value in values)
    if isinstance(values, str) and values.strip():
        return ", ".join(split_top_level(values))
    raise ValueError(
        f"search: {quoted(name)} needs a list such as [softmax, linear], or a range such as 1..6, not {quoted(values)}"
    )


def _plain(name: str, text: str) -> str:
    """Return a choice in the shortest form that means the same."""
    return choice_text(parse_choice(name, text))


def refuse_alone(given: Mapping[str, Any]) -> None:
    """Raise ValueError for what only a search has, where there is none."""
    if alone := [name for name in ("under", *_MOST) if given.get(name) is not None]:
        raise ValueError(
            f"{alone[0]} is of a search; say what to search: --search mixer=softmax,linear, or in a file "
            "search: {mixer: [softmax, linear]}"
        )
