from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from formers.tasks import parse
from formers.tasks.control import policies_for, record
from formers.tasks.control.policies import EPISODES, EXPERT, MEDIUM, RANDOM

pytest.importorskip("gymnasium", reason="the extra control")


def test_a_recording_is_a_function_of_its_seed() -> None:
    policies = policies_for("CartPole-v1")
    first, same, other = (record("CartPole-v1", policies, {RANDOM: 4, EXPERT: 1}, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.states, same.states)
    np.testing.assert_array_equal(first.actions, same.actions)
    assert first.states.shape != other.states.shape or (first.states != other.states).any()


def test_policies_are_of_their_qualities() -> None:
    found = record("CartPole-v1", policies_for("CartPole-v1"), {RANDOM: 30, MEDIUM: 15, EXPERT: 3})
    means = {name: mean for name, (_, _, mean) in found.summary().items()}
    assert means[RANDOM] < 35 < 100 < means[MEDIUM] < 300 < means[EXPERT]
    assert (found.zero, found.hundred) == (means[RANDOM], means[EXPERT])
    assert set(EPISODES) == {RANDOM, MEDIUM, EXPERT}


def test_random_continuous_actions() -> None:
    found = record("Pendulum-v1", policies_for("Pendulum-v1"), {RANDOM: 1}, zero=-1500, hundred=0)
    assert found.actions.shape == (200, 1)
    assert found.actions.dtype == np.float32
    assert -1 <= found.actions.min() < -0.9 < 0.9 < found.actions.max() <= 1


def test_a_policy_of_ones_own() -> None:
    found = record("CartPole-v1", {"left": lambda state, draws: 0}, {"left": 2}, zero=0, hundred=500)
    assert found.policies == ("left", "left")
    assert not found.actions.any()


def test_the_example_of_the_docs_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "control.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    task = parse("control(env='Acrobot-v1', path='acrobot')")
    assert task.trajectories.summary()["still"][0] == 2
    assert task.base().state_size == 6


def test_what_cannot_be_recorded() -> None:
    policies = policies_for("CartPole-v1")
    with pytest.raises(ValueError, match="there is no policy 'export'"):
        record("CartPole-v1", policies, {"export": 1})
    with pytest.raises(ValueError, match="there are no trajectories of CartPole"):
        record("CartPole-v1", policies, {}, zero=0, hundred=1)
    with pytest.raises(ValueError, match=r"no trajectories of a policy called 'expert'.*give zero= and hundred="):
        record("CartPole-v1", policies, {RANDOM: 1})


@pytest.mark.parametrize("seed", [-1, 10, 11])
def test_a_recording_has_none_of_the_episodes_that_models_are_measured_on(seed: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to 9, not {seed}"):
        record("CartPole-v1", policies_for("CartPole-v1"), {RANDOM: 1}, seed=seed)
