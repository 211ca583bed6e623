"""The front that is found by sorting is the one of the definition."""

from __future__ import annotations

from random import Random

from formers.lab.store.pareto import pareto_front


def by_definition(losses: dict[str, float], costs: dict[str, float | None]) -> set[str]:
    points = {name: (loss, cost) for name, loss in losses.items() if (cost := costs[name]) is not None}
    return {
        name
        for name, point in points.items()
        if not any(it != point and it[0] <= point[0] and it[1] <= point[1] for it in points.values())
    }


def test_it_is_the_front_of_the_definition_with_ties_and_without_costs() -> None:
    random = Random(0)
    for _ in range(200):
        names = [str(index) for index in range(random.randrange(9))]
        losses = {name: float(random.randrange(4)) for name in names}
        costs = {name: random.choice([None, 0.0, 1.0, 2.0, 3.0]) for name in names}
        assert pareto_front(losses, costs) == by_definition(losses, costs)
