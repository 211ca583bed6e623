"""Stages of a training: short and narrow first, then, stage by stage, twice the length and the windows at half the
learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from formers.lab.study.arm import Arm
from formers.lab.study.budget import Budget
from formers.lab.study.study import Study
from formers.mixers import Sparse
from formers.part import Part, option_hints
from formers.patterns import Window

if TYPE_CHECKING:
    from formers.models import TransformerConfig

_SHORTEST = 2


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of an arm's training.

    Attributes:
        study: the study with the stage's length and budget.
        config: the arm's configuration, for that length, with the stage's windows.
        steps_before, examples_before: those of the stages before it.
    """

    study: Study
    config: TransformerConfig
    steps_before: int
    examples_before: int


def stages_of(study: Study, arm: Arm, config: TransformerConfig, budget: Budget) -> list[Stage]:
    """Return the stages of an arm's training, of which the last has its own length and windows.

    With n stages, stage s has 2^(s−n) of the length and of each `window` of the mixers, `window(…)` patterns too,
    2^(n−s) times the examples in a step, so that all steps have as many tokens, and 2^(1−s) of the learning rate. Steps
    and evaluations are shared out evenly; each stage warms up, and falls along a cosine of its own.
    Source: Beltagy et al. 2020 (Longformer), arXiv:2004.05150, section 4.2.

    Raise ValueError for a length or a window that cannot be halved so often, and for fewer steps than stages.
    """
    stages, steps_before, examples_before = list[Stage](), 0, 0
    for number, steps in enumerate(_shares(budget), 1):
        factor = 2 ** (budget.stages - number)
        own = replace(
            budget,
            stages=1,
            steps=steps,
            batch_size=budget.batch_size * factor,
            learning_rate=budget.learning_rate / 2 ** (number - 1),
            evaluations=max(1, round(budget.evaluations * steps / budget.steps)),
        )
        shorter = study.task.swap(length=_divided(study.task.length, factor, f"{study.task.name()}: length", _SHORTEST))
        part = replace(study, task=shorter, budget=own, search={}, eval_lengths=())
        narrow = config if factor == 1 else part.config(arm).swap(mixer=narrowed(config.mixer, factor))
        stages.append(Stage(study=part, config=narrow, steps_before=steps_before, examples_before=examples_before))
        steps_before, examples_before = steps_before + steps, examples_before + steps * own.batch_size
    return stages


def narrowed(mixer: Any, factor: int) -> Any:
    """Return a mixer, or several, with windows divided by a factor. Raise ValueError where one does not divide."""
    if isinstance(mixer, tuple):
        return tuple(narrowed(one, factor) for one in mixer)
    if not isinstance(mixer, Part):
        return mixer
    changes: dict[str, Any] = {}
    for name in option_hints(type(mixer)):
        value = getattr(mixer, name)
        if name == "pattern" and isinstance(mixer, Sparse) and mixer.per_head:
            continue  # the heads' own take its place
        if name == "window" or (isinstance(mixer, Window) and name == "width"):
            many = isinstance(value, tuple)
            parts = [_divided(one, factor, f"{mixer}: {name}") for one in (value if many else (value,))]
            changes[name] = tuple(parts) if many else parts[0]
        else:
            changes[name] = narrowed(value, factor)
    changed = {name: value for name, value in changes.items() if value != getattr(mixer, name)}
    return mixer.swap(**changed) if changed else mixer


def _shares(budget: Budget) -> Iterator[int]:
    """Yield the steps of each stage."""
    for number in range(budget.stages):
        yield budget.steps * (number + 1) // budget.stages - budget.steps * number // budget.stages


def _divided(number: Any, factor: int, what: str, least: int = 1) -> Any:
    """Return a number divided by a factor; None stays. Raise ValueError where it does not divide, or falls too low."""
    if number is None:
        return None
    if number % factor or number // factor < least:
        raise ValueError(
            f"{what} is {number}, but stages halve it to the {factor}th part in the first of them; take fewer stages, "
            f"or a multiple of {factor * least}"
        )
    return number // factor
