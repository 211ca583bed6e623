from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from formers.tasks.control.windows import Scaling, Windows


def test_a_window_within_a_trajectory(made: Any) -> None:
    found = made()
    window = Windows(found, Scaling.of(found), 3).at(5)
    assert window["timesteps"].tolist() == [1, 2, 3]
    assert window["actions"].tolist() == [2, 0, 1]
    assert window["labels"].tolist() == [2, 0, 1]
    assert window["attention_mask"].tolist() == [1, 1, 1]
    np.testing.assert_allclose(window["returns_to_go"], np.array([30, 24, 17]) / 35, rtol=1e-6)


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_a_window_at_an_end_is_padded_on_the_left(made: Any, discrete: bool) -> None:
    found = made(discrete)
    window = Windows(found, Scaling.of(found), 4).at(2)  # the last step of the first trajectory
    assert window["attention_mask"].tolist() == [0, 0, 0, 1]
    assert window["timesteps"].tolist() == [0, 0, 0, 2]
    assert bool((window["labels"][:3] == -100).all())
    assert bool((window["labels"][3] == torch.from_numpy(found.actions[2:3])[0]).all())
    assert window["states"].shape == (4, 2)


def test_every_step_is_equally_often_the_first(made: Any) -> None:
    found = made()
    windows, stream = Windows(found, Scaling.of(found), 2), random.Random(0)
    states = Counter(round(float(windows.draw(stream)["states"][:, 0].max()), 4) for _ in range(3000))
    assert len(states) < 10
    alone = sum(int(windows.draw(stream)["attention_mask"].sum()) == 1 for _ in range(3000)) / 3000
    assert alone == pytest.approx(3 / 9, abs=0.03)  # the three last steps of nine


def test_delayed_rewards(made: Any) -> None:
    found = made()
    window = Windows(found, Scaling.of(found), 3, delayed=True).at(5)
    np.testing.assert_allclose(window["returns_to_go"], np.ones(3))


def test_states_have_mean_0_and_deviation_1_and_those_that_never_change_are_0(made: Any) -> None:
    found = made()
    states = Scaling.of(found).states(found.states)
    assert states[:, 0].mean() == pytest.approx(0, abs=1e-6)
    assert states[:, 0].std() == pytest.approx(1, abs=1e-6)
    assert not states[:, 1].any()
