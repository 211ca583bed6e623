"""Budgets by size, the same for every task: how long, with how many seeds and rates, and what they can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from formers.lab.study.budget import Budget
from formers.lab.study.seeds import first_seeds
from formers.lab.study.study import Study, default_budget
from formers.part import check_names
from formers.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class BudgetSize:
    """How much a study of this size spends, measured in the task's default study.

    Attributes:
        shows: what it can show, in a sentence.
        times: steps of the default budget.
        seeds: how many.
        rates: learning rates to choose from, over the default one; none to search nothing.
    """

    shows: str
    times: int
    seeds: int
    rates: tuple[float, ...] = ()

    def budget(self, task: Task) -> Budget:
        """Return the budget for a task."""
        usual = default_budget(task)
        return replace(usual, steps=usual.steps * self.times, evaluations=max(usual.evaluations, 5 * self.seeds))

    def search(self, task: Task) -> dict[str, tuple[float, ...]]:
        """Return what each arm chooses on validation."""
        rate = default_budget(task).learning_rate
        return {"learning_rate": tuple(float(f"{times * rate:.2g}") for times in self.rates)} if self.rates else {}

    def given_to(self, study: Study) -> Study:
        """Return a study with the budget, the seeds and the search of this size."""
        task = study.task
        return replace(study, budget=self.budget(task), seeds=first_seeds(self.seeds), search=self.search(task))


BUDGET_SIZES: Mapping[str, BudgetSize] = {
    "small": BudgetSize(
        times=1,
        seeds=1,
        shows="that arms train, and what they cost; it orders nothing but arms that learn from those that do not",
    ),
    "medium": BudgetSize(
        times=4,
        seeds=3,
        shows="differences larger than about twice the spread of seeds, at one learning rate for all",
    ),
    "large": BudgetSize(
        times=16,
        seeds=5,
        rates=(1 / 3, 1.0, 3.0),
        shows="an order at this size of model that neither the rate nor the seed decides",
    ),
}
"""Name → budget. `--budget medium` and, in YAML, `budget: medium`."""


def budget_size(name: str) -> BudgetSize:
    """Return a budget by its name. Raise ValueError for an unknown one, naming the nearest."""
    check_names("budget", [name], list(BUDGET_SIZES), word="size")
    return BUDGET_SIZES[name]
