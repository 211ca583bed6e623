"""The front of a larger search: quality on validation against a cost, the mean over the seeds of the search."""

from __future__ import annotations

import pytest

from formers.lab.store.records import Row, TaskMetric
from formers.lab.store.trials import front_of, thinned

LOSS, ACCURACY = TaskMetric(name="loss", label="loss"), TaskMetric(name="loss", label="x", lower_is_better=False)


def row(number: int, value: float, parameters: int, status: str = "finished", seed: int = 0) -> Row:
    return Row(
        arm=f"trial {number}",
        seed=seed,
        status=status,  # type: ignore[arg-type]
        validation={"loss": value},
        parameters=parameters,
        options={"depth": str(number)},
        is_search=True,
    )


ROWS = [row(0, 3.0, 10), row(1, 2.0, 20), row(2, 2.5, 30), row(3, 1.0, 40), row(4, 0.1, 5, "diverged"), row(5, 1.0, 40)]


def test_nothing_on_the_front_is_beaten() -> None:
    assert front_of(ROWS, LOSS, "parameters") == ["trial 0", "trial 1", "trial 3"]
    assert front_of(ROWS, ACCURACY, "parameters") == ["trial 0"]
    assert front_of([], LOSS, "parameters") == []


def test_a_trial_counts_with_all_its_seeds() -> None:
    both = [row(0, 1.0, 10), row(0, 9.0, 10, seed=1), row(1, 2.0, 10), row(1, 2.0, 10, seed=1)]
    assert front_of(both, LOSS, "parameters") == ["trial 1"]


@pytest.mark.parametrize(("most", "kept"), [(1, "f"), (2, "af"), (3, "adf"), (6, "abcdef"), (9, "abcdef")])
def test_a_long_front_is_thinned_evenly(most: int, kept: str) -> None:
    found = thinned(list("abcdef"), most)
    assert len(found) == len(kept)
    assert found[-1] == "f"
    assert most == 1 or found[0] == "a"
