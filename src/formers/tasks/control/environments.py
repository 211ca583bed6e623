"""Environments of gymnasium: what their states and actions are, and how they are made."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from formers.part import Unsupported

_EXTRAS = {"classic_control": "control", "mujoco": "mujoco"}
"""The folder of an environment in gymnasium → the extra of this library that brings what it needs."""
_UNLIMITED = 1000
"""Steps after which an episode ends in an environment that never ends one by itself."""


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """What the states and actions of an environment are.

    Attributes:
        name: the environment's name, as in `CartPole-v1`.
        state_size: numbers in a state.
        action_size: different actions, or components of a continuous one.
        discrete: whether an action is one of `action_size`.
        low, high: bounds of each component of a continuous action; empty for discrete ones.
        first: the number of the first discrete action.
        longest_episode: steps after which an episode ends.
    """

    name: str
    state_size: int
    action_size: int
    discrete: bool
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    first: int = 0
    longest_episode: int = _UNLIMITED

    def to_environment(self, action: Any) -> Any:
        """Return an action of a model, 0 … A − 1 or numbers from −1 to 1, as the environment takes it."""
        if self.discrete:
            return int(action) + self.first
        low, high = np.asarray(self.low), np.asarray(self.high)
        return (low + (np.clip(action, -1, 1) + 1) / 2 * (high - low)).astype(np.float32)

    def from_environment(self, action: Any) -> Any:
        """Return actions of the environment, one or several, as a model takes them."""
        if self.discrete:
            return np.asarray(action, np.int64) - self.first
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.clip((np.asarray(action, np.float64) - low) / (high - low) * 2 - 1, -1, 1).astype(np.float32)


def make_environment(name: str, *, render: bool = False) -> Any:
    """Return a new environment, one that draws itself with `render`.

    Raises:
        ImportError: where gymnasium, or what the environment needs, is not installed, naming the extra.
        ValueError: for a name that gymnasium does not know, with its own words.
    """
    try:
        import gymnasium
    except ImportError:
        raise ImportError("environments need gymnasium: pip install 'formers[control]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a newer version of an environment exists
            return gymnasium.make(name, render_mode="rgb_array" if render else None)
    except gymnasium.error.DependencyNotInstalled as error:
        raise ImportError(f"{name} is not installed: {_one_line(error)}. {_how_to_install(name)}") from error
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        kind = ImportError if isinstance(error, ModuleNotFoundError) else ValueError
        raise kind(f"gymnasium has no environment {name!r}: {_one_line(error)}. {_how_to_install(name)}") from error


@lru_cache(maxsize=16)
def spaces_of(name: str) -> Spaces:
    """Return what the states and actions of an environment are.

    Raises:
        ImportError, ValueError: as `make_environment` does.
        Unsupported: for states that are no vector of numbers, and for actions that are neither a choice nor a vector of
            bounded numbers.
    """
    environment = make_environment(name)
    states, actions = environment.observation_space, environment.action_space
    limit = environment.spec.max_episode_steps or _UNLIMITED
    environment.close()
    shape: Sequence[int] | None = states.shape
    if type(states).__name__ != "Box" or shape is None or len(shape) != 1:
        raise Unsupported(
            f"{name} has states {states}, but a flat vector of numbers (Box of one dimension) is expected"
        )
    known: dict[str, Any] = {"name": name, "state_size": int(shape[0]), "longest_episode": limit}
    if type(actions).__name__ == "Discrete":
        return Spaces(**known, action_size=int(actions.n), discrete=True, first=int(actions.start))
    if type(actions).__name__ != "Box" or len(actions.shape) != 1 or not actions.is_bounded():
        raise Unsupported(f"{name} has actions {actions}, but Discrete, or a bounded Box of one dimension is expected")
    low, high = (tuple(map(float, bound)) for bound in (actions.low, actions.high))
    return Spaces(**known, action_size=len(low), discrete=False, low=low, high=high)


def _how_to_install(name: str) -> str:
    """Return the command that installs what an environment needs, as far as gymnasium knows it."""
    import gymnasium

    known = gymnasium.registry.get(name)
    folder = (
        str(known.entry_point).split(".")[2].partition(":")[0] if known and "envs." in str(known.entry_point) else ""
    )
    if folder in _EXTRAS:
        return f"Install it with: pip install 'formers[{_EXTRAS[folder]}]'"
    return "Check its name and version, and install the package that registers it"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
