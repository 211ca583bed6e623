"""Small trajectories that need no environment, and one recording of a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from formers.tasks.control.environments import Spaces
from formers.tasks.control.trajectories import Trajectories

needs_gymnasium = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("gymnasium") is None, reason="needs gymnasium: the extra control"
)
LENGTHS = (3, 1, 5)


def spaces(discrete: bool = True) -> Spaces:
    if discrete:
        return Spaces(name="Made-v0", state_size=2, action_size=3, discrete=True, longest_episode=8)
    bounds = {"low": (-2.0, 0.0), "high": (2.0, 1.0)}
    return Spaces(name="Made-v0", state_size=2, action_size=2, discrete=False, longest_episode=8, **bounds)  # type: ignore[arg-type]


@pytest.fixture
def made() -> Callable[..., Trajectories]:
    """Three trajectories of 3, 1 and 5 steps, whose states count the steps of all of them; with some fields changed."""

    def make(discrete: bool = True, **changes: Any) -> Trajectories:
        steps = sum(LENGTHS)
        fields: dict[str, Any] = {
            "spaces": spaces(discrete),
            "states": np.stack([np.arange(steps), np.full(steps, 7)], 1).astype(np.float32),
            "actions": np.arange(steps) % 3 if discrete else np.linspace(-1, 1, 2 * steps, dtype="f4").reshape(-1, 2),
            "rewards": np.arange(1, steps + 1, dtype=np.float32),
            "lengths": np.array(LENGTHS),
            "policies": ("low", "low", "high"),
            "zero": 5.0,
            "hundred": 25.0,
        }
        return Trajectories(**fields | changes)

    return make
