from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def test_returns_to_go_are_the_sums_of_what_follows(made: Any) -> None:
    found = made()
    assert found.returns.tolist() == [6, 4, 35]
    assert found.returns_to_go().tolist() == [6, 5, 3, 4, 35, 30, 24, 17, 9]
    assert found.returns_to_go(delayed=True).tolist() == [6, 6, 6, 4, 35, 35, 35, 35, 35]


def test_they_are_exact_in_long_recordings(made: Any) -> None:
    """Running sums over all episodes would cost the last ones their digits in float32."""
    count = 3000
    lengths = np.full(count, 9)
    rewards = np.full(9 * count, 0.1, np.float32) + np.arange(9 * count, dtype=np.float32) % 9
    found = made(
        states=np.zeros((9 * count, 2), np.float32),
        actions=np.zeros(9 * count, np.int64),
        rewards=rewards,
        lengths=lengths,
        policies=("p",) * count,
    )
    one = rewards[:9].astype(np.float64)[::-1].cumsum()[::-1]
    np.testing.assert_allclose(found.returns_to_go().reshape(count, 9), np.tile(one, (count, 1)), rtol=1e-9)


def test_episodes_are_chosen_by_policy_and_by_return(made: Any) -> None:
    found = made()
    low = found.of_policy("low")
    assert low.lengths.tolist() == [3, 1]
    assert low.states[:, 0].tolist() == [0, 1, 2, 3]
    assert found.of_policy("mixed") is found
    assert found.best(0.67).returns.tolist() == [6, 35]
    assert found.best(0.01).returns.tolist() == [35]
    assert found.best(1.0).returns.tolist() == [6, 4, 35]
    with pytest.raises(ValueError, match="of a policy 'hight'; there are those of high, low, and mixed is all"):
        found.of_policy("hight")


def test_scores(made: Any) -> None:
    found = made()
    assert (found.score(5), found.score(25), found.score(35)) == (0, 100, 150)
    assert found.return_of(found.score(12.5)) == 12.5
    assert found.summary() == {"low": (2, 4, 5.0), "high": (1, 5, 35.0)}


NONE = {"states": np.zeros((0, 2), np.float32), "actions": np.zeros(0, np.int64), "rewards": np.zeros(0, np.float32)}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no trajectories": (
        {**NONE, "lengths": np.zeros(0, np.int64), "policies": ()},
        "there are no trajectories of Made",
    ),
    "an empty one": ({"lengths": np.array([3, 0, 6])}, "trajectory 1 of 3 is empty"),
    "steps": ({"lengths": np.array([3, 1, 4])}, r"states have shape \(9, 2\), but \(8, 2\) was expected"),
    "states": ({"states": np.zeros((9, 3), np.float32)}, r"\(9, 2\) was expected"),
    "actions": ({"actions": np.full(9, 3)}, r"actions must be 0 … 2, but go from 3 to 3"),
    "rewards": ({"rewards": np.full(9, np.nan, np.float32)}, "rewards hold NaN or infinity at step 0"),
    "policies": ({"policies": ("low",)}, "1 names of policies for 3 trajectories"),
    "scale": ({"hundred": 5.0}, "must be larger than that which counts as 0"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_together(made: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(**changes)
