"""Policies to record: callables that act, and those of several qualities that come with the library."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from formers.tasks.control.environments import Spaces, spaces_of

Policy = Callable[[np.ndarray, random.Random], Any]
"""A state, (S), and a source of random numbers → an action as the environment takes it."""
RANDOM, MEDIUM, EXPERT = "random", "medium", "expert"


def policies_for(name: str) -> dict[str, Policy]:
    """Return the policies for an environment by their quality: `random`, and `medium` and `expert` where it has them.

    Those of CartPole push towards the side to which a weighted sum of the state leans, and at random now and then;
    those of Hopper are linear, found by augmented random search (Mania et al. 2018, arXiv:1803.07055).
    """
    spaces = spaces_of(name)
    return {RANDOM: partial(random_action, spaces)} | _SCRIPTED.get(name, {})


def random_action(spaces: Spaces, state: np.ndarray, draws: random.Random) -> Any:
    """Return any action, all equally likely."""
    if spaces.discrete:
        return spaces.first + draws.randrange(spaces.action_size)
    return np.array([draws.uniform(*bounds) for bounds in zip(spaces.low, spaces.high, strict=True)], np.float32)


def push(weights: Sequence[float], noise: float, state: np.ndarray, draws: random.Random) -> int:
    """Return 1 (to the right) where the weighted sum of the state is positive, else 0; by chance `noise`, either."""
    if draws.random() < noise:
        return draws.randrange(2)
    return int(float(np.dot(weights, state)) > 0)


def lean(
    weights: Sequence[Sequence[float]], bias: Sequence[float], noise: float, state: np.ndarray, draws: random.Random
) -> np.ndarray:
    """Return a linear function of the state with normal noise of this deviation, within −1 and 1, (A)."""
    exact = np.asarray(weights) @ state + np.asarray(bias)
    return np.clip(exact + [draws.gauss(0, noise) for _ in bias], -1, 1).astype(np.float32)


_HOPPER_MEDIUM = (
    (0.95, -3.16, 21.29, -0.36, -0.19, -0.11, 0.03, 0.13, 0.65, 0.0, 0.03),
    (-0.53, -3.52, -2.49, 0.01, -0.44, -0.22, -0.12, -0.49, 0.23, 0.02, -0.09),
    (1.26, 0.37, -8.48, 1.45, 0.16, -0.51, -0.31, 0.12, -0.11, -0.01, -0.05),
)
_HOPPER_EXPERT = (
    (0.82, -3.44, 24.51, -0.09, 0.11, -0.13, 0.03, 0.17, 0.69, 0.0, 0.01),
    (0.04, -3.93, -3.98, -0.01, -0.43, -0.28, -0.12, -0.6, 0.21, -0.03, -0.05),
    (1.64, 0.43, -13.31, 1.71, 0.14, -0.65, -0.25, 0.07, -0.11, 0.01, -0.04),
)
_SCRIPTED: dict[str, dict[str, Policy]] = {
    "CartPole-v1": {
        MEDIUM: partial(push, (0.0, -2.0, 10.0, 3.0), 0.2),  # balances the pole, but runs off the track
        EXPERT: partial(push, (1.0, 1.8, 30.0, 5.0), 0.1),
    },
    "Hopper-v5": {
        MEDIUM: partial(lean, _HOPPER_MEDIUM, (-1.01, 0.97, -0.11), 0.1),
        EXPERT: partial(lean, _HOPPER_EXPERT, (-0.82, 0.25, -0.18), 0.02),
    },
}
"""Environment → policies that come with the library."""
EPISODES = {RANDOM: 150, MEDIUM: 60, EXPERT: 6}
"""Episodes of each quality in the data of the task: few of the expert's, so that cloning everything does not do."""
