"""The budget: what each arm of a study may spend, the same for all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from formers.part import quoted

_MOST = {"steps": 10**9, "batch_size": 1 << 20, "evaluations": 10_000, "stages": 20}
"""Amounts that nobody means: what is above them is a slip, and would be counted out for hours."""
_FEWEST_EVALUATIONS = 2
"""Of a training that is shorter than its budget was made for: two points are the least that a curve has."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Budget:
    """How one arm is trained: with AdamW, a linear warm-up, then a cosine down to zero.

    Attributes:
        steps: optimiser steps.
        batch_size: examples in a step; where several processes train together, each takes its share of them.
        learning_rate: the highest one, after the warm-up.
        warmup: share of the steps in which the learning rate rises.
        weight_decay: of matrices; biases and norms are not decayed.
        clip: the largest norm of the gradient; longer ones are shortened to it.
        evaluations: how often an arm is evaluated, evenly along its steps; the last time is at the end. `--steps` on
            the command line lowers it in proportion, as `with_steps` does; here it stays as it is.
        stages: parts of the training, each from the weights of the one before: the last is of the task's length and the
            arm's windows, and each before it of half of both and twice the examples; the learning rate falls by half
            from one to the next, each with a warm-up and a cosine of its own. Longformer's staged training; see
            `stages_of`. A validation metric along the way is that of its stage's length.

    Raises:
        TypeError: for a value that is not a number, or not a whole one where that is needed.
        ValueError: for amounts that cannot be trained with, and numbers that are not finite.
    """

    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.1
    clip: float = 1.0
    evaluations: int = 5
    stages: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (list, tuple)):
                raise TypeError(
                    f"budget: {field.name} must be a number, but {quoted(value)} was given; values to choose from go "
                    f"to the study, Study(search={{{field.name!r}: {quoted(value)}}})"
                )
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"budget: {field.name} must be a number, but {quoted(value)} was given")
            if not _is_finite(value):
                raise ValueError(f"budget: {field.name} must be a finite number, but {quoted(value)} was given")
            kind = int if field.type == "int" else float
            if kind(value) != value:
                raise TypeError(f"budget: {field.name} must be a whole number, but {quoted(value)} was given")
            object.__setattr__(self, field.name, kind(value))
        self._check_amounts()

    def __repr__(self) -> str:
        return f"Budget({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def to_dict(self) -> dict[str, float]:
        """Return every amount by its name; `stages` only where there are several, as in older files."""
        amounts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in amounts.items() if name != "stages" or value != 1}

    def _check_amounts(self) -> None:
        for name in ("steps", "batch_size", "evaluations", "learning_rate", "clip", "stages"):
            if not getattr(self, name) > 0:
                raise ValueError(f"budget: {name} must be positive, but {getattr(self, name)} was given")
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"budget: {name} is at most {most:,}, but {getattr(self, name):,} was given")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"budget: warmup is a share of the steps, from 0 up to 1, but {self.warmup} was given")
        if self.weight_decay < 0:
            raise ValueError(f"budget: weight_decay cannot be negative, but {self.weight_decay} was given")
        if self.stages > self.steps:
            raise ValueError(f"budget: {self.steps} steps cannot have {self.stages} stages; give each at least one")

    def with_steps(self, steps: int) -> Budget:
        """Return this budget with another number of steps, evaluated in proportion: as often as this one, for as long.

        A shorter training has fewer evaluations, at least 2 where this one has; a longer one has as many.
        """
        least = min(_FEWEST_EVALUATIONS, self.evaluations)
        share = math.ceil(self.evaluations * steps / self.steps)
        return replace(self, steps=steps, evaluations=min(self.evaluations, max(least, share)))

    def describe(self, length: int, search: Mapping[str, Sequence[float]] | None = None) -> str:
        """Return the budget in words, as in `300 steps × 16 × 128 tokens, learning rate 0.001` for a length of 128.

        Of options in `search`, every value is told.
        """
        of = {name: " or ".join(f"{value:g}" for value in values) for name, values in (search or {}).items()}
        batch = f"({of['batch_size']})" if "batch_size" in of else str(self.batch_size)
        rate = of.pop("learning_rate", f"{self.learning_rate:g}")
        others = "".join(f", {name.replace('_', ' ')} {values}" for name, values in of.items() if name != "batch_size")
        words = f"{self.steps} steps × {batch} × {length} tokens, learning rate {rate}{others}"
        return words if self.stages == 1 else f"{words}, in {self.stages} stages"

    @property
    def evaluation_steps(self) -> frozenset[int]:
        """The steps after which the arm is evaluated; the last step is among them."""
        times = min(self.evaluations, self.steps)
        return frozenset(round(self.steps * k / times) for k in range(1, times + 1))


def _is_finite(value: float) -> bool:
    """Return whether a number is finite, and small enough for a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
