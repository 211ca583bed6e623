from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from formers.part import Unsupported
from formers.tasks.control.environments import Spaces, make_environment, spaces_of

gymnasium = pytest.importorskip("gymnasium", reason="the extra control")


def test_cartpole() -> None:
    assert spaces_of("CartPole-v1") == Spaces(
        name="CartPole-v1", state_size=4, action_size=2, discrete=True, longest_episode=500
    )


def test_continuous_actions_are_scaled_to_one() -> None:
    spaces = spaces_of("Pendulum-v1")
    assert (spaces.low, spaces.high, spaces.longest_episode) == ((-2.0,), (2.0,), 200)
    np.testing.assert_allclose(spaces.to_environment(np.array([0.5])), [1.0])
    np.testing.assert_allclose(spaces.to_environment(np.array([7.0])), [2.0])
    np.testing.assert_allclose(spaces.from_environment(np.array([[1.0], [-2.0]])), [[0.5], [-1.0]])


def test_discrete_actions_may_begin_anywhere() -> None:
    spaces = Spaces(name="x", state_size=1, action_size=2, discrete=True, first=5)
    assert spaces.to_environment(1) == 6
    assert spaces.from_environment([5, 6]).tolist() == [0, 1]


def test_one_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"gymnasium has no environment 'CartPool-v1'.*Check its name"):
        make_environment("CartPool-v1")


def test_one_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_: Any, **__: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("MuJoCo is not installed, run `pip install …`")

    monkeypatch.setattr(gymnasium, "make", make)
    with pytest.raises(ImportError, match=r"Hopper-v5 is not installed: MuJoCo.*pip install 'formers\[mujoco\]'"):
        make_environment("Hopper-v5")


def test_without_gymnasium(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ImportError, match=r"environments need gymnasium: pip install 'formers\[control\]'"):
        make_environment("CartPole-v1")


class Strange(gymnasium.Env):
    def __init__(self, states: Any, actions: Any, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = states, actions


@pytest.mark.parametrize(
    ("states", "actions", "message"),
    [
        (gymnasium.spaces.Discrete(3), gymnasium.spaces.Discrete(2), "a flat vector of numbers"),
        (gymnasium.spaces.Box(0, 1, (2, 2)), gymnasium.spaces.Discrete(2), "a flat vector of numbers"),
        (gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.MultiBinary(2), "Discrete, or a bounded Box"),
        (gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Box(0, np.inf, (2,)), "Discrete, or a bounded Box"),
    ],
)
def test_states_and_actions_that_no_model_takes(states: Any, actions: Any, message: str) -> None:
    gymnasium.register("Strange-v0", lambda **options: Strange(states, actions, **options), disable_env_checker=True)
    try:
        spaces_of.cache_clear()
        with pytest.raises(Unsupported, match=message):
            spaces_of("Strange-v0")
    finally:
        del gymnasium.registry["Strange-v0"]
