"""Trajectories from Minari's data sets, by their names."""

from __future__ import annotations

from typing import Any

import numpy as np

from formers.tasks.control.environments import spaces_of
from formers.tasks.control.policies import RANDOM, policies_for
from formers.tasks.control.recorder import record
from formers.tasks.control.trajectories import Trajectories

PREFIX = "minari:"
"""The beginning of a path that names a Minari data set."""
_RANDOM_EPISODES = 20
_BEST = 0.1


def load_minari(name: str) -> Trajectories:
    """Return the trajectories of a Minari data set that is on this machine, or that Minari downloads.

    Their policy has the name of the data set. Scores are on the scale of its reference scores; where it has none,
    random actions, which are played here, have 0, and the mean of its best tenth of episodes has 100.

    Raises:
        ImportError: without Minari.
        FileNotFoundError: where there is no such data set, with Minari's own words.
        ValueError: for a data set without trajectories, or without the name of an environment.
    """
    try:
        import minari
    except ImportError:
        raise ImportError("Minari's data sets need minari: pip install 'formers[control]'") from None
    try:
        dataset = minari.load_dataset(name, download=True)
    except Exception as error:  # of whatever service it asks
        how = f"minari download {name}, and minari list remote shows what there is"
        raise FileNotFoundError(
            f"there is no Minari data set {name!r} here ({_one_line(error)}). Get it with: {how}"
        ) from error
    environment = getattr(dataset.spec.env_spec, "id", None)
    if environment is None:
        raise ValueError(f"the Minari data set {name!r} does not name its environment, which models are tested in")
    return _read(dataset, name, environment)


def _read(dataset: Any, name: str, environment: str) -> Trajectories:
    spaces = spaces_of(environment)
    episodes = [episode for episode in dataset.iterate_episodes() if len(episode.rewards)]
    if not episodes:
        raise ValueError(f"the Minari data set {name!r} holds no trajectories")
    states = [np.asarray(episode.observations[: len(episode.rewards)], np.float32) for episode in episodes]
    rewards = [np.asarray(episode.rewards, np.float32) for episode in episodes]
    zero, hundred = _references(dataset, environment, [float(some.sum(dtype=np.float64)) for some in rewards])
    return Trajectories(
        spaces=spaces,
        states=np.concatenate(states),
        actions=np.concatenate([spaces.from_environment(episode.actions) for episode in episodes]),
        rewards=np.concatenate(rewards),
        lengths=np.array([len(some) for some in rewards], np.int64),
        policies=(name,) * len(episodes),
        zero=zero,
        hundred=hundred,
    )


def _references(dataset: Any, environment: str, returns: list[float]) -> tuple[float, float]:
    """Return the returns that count as 0 and 100."""
    metadata = dataset.storage.metadata
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    if low is not None and high is not None:
        return float(low), float(high)
    played = record(environment, policies_for(environment), {RANDOM: _RANDOM_EPISODES}, zero=0.0, hundred=1.0)
    best = sorted(returns)[-max(1, round(_BEST * len(returns))) :]
    return float(played.returns.mean()), float(np.mean(best))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
