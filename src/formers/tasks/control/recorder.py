"""The recorder: it plays policies in an environment, and keeps what happened."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np

from formers.tasks.control.environments import Spaces, make_environment, spaces_of
from formers.tasks.control.policies import EXPERT, RANDOM, Policy
from formers.tasks.control.trajectories import Trajectories

SEEDS_APART = 1_000_000
"""Seeds of environments from one recording, or one split, to the next."""
RECORDINGS = 10
"""Recordings with seeds of their own; those of the splits that models are measured on follow."""


def record(
    name: str,
    policies: Mapping[str, Policy],
    episodes: Mapping[str, int],
    *,
    seed: int = 0,
    zero: float | None = None,
    hundred: float | None = None,
) -> Trajectories:
    """Return trajectories that policies make in an environment, the same ones for the same seed.

    Args:
        name: the environment's name.
        policies: name → a callable that acts; those of the library are `policies_for(name)`.
        episodes: how many episodes of each policy.
        seed: of the environment's beginnings and of the policies' random numbers, 0 to 9: episodes of other seeds are
            those that models are measured on.
        zero, hundred: the returns that count as scores of 0 and 100; unless given, the means of the policies `random`
            and `expert`.

    Raises:
        ValueError: where there is nothing to record, where there is no such policy to take a score's scale from, and
            for another seed.
    """
    if not 0 <= seed < RECORDINGS:
        raise ValueError(f"a recording's seed is from 0 to {RECORDINGS - 1}, not {seed}: others are those of the tests")
    if unknown := [policy for policy in episodes if policy not in policies]:
        raise ValueError(f"there is no policy {unknown[0]!r} for {name}; there are {', '.join(policies)}")
    spaces, environment = spaces_of(name), make_environment(name)
    rows: list[Any] = []
    try:
        for policy, count in episodes.items():
            for index in range(count):
                start = seed * SEEDS_APART + len(rows)
                draws = random.Random(f"{name}/{policy}/{seed}/{index}")
                rows.append((policy, *_episode(environment, spaces, policies[policy], start, draws)))
    finally:
        environment.close()
    if not rows:
        raise ValueError(f"there are no trajectories of {name}; record some, at least one")
    names, states, actions, rewards = zip(*rows, strict=True)
    return Trajectories(
        spaces=spaces,
        states=np.concatenate(states),
        actions=np.concatenate(actions),
        rewards=np.concatenate(rewards),
        lengths=np.array([len(some) for some in rewards], np.int64),
        policies=names,
        zero=_mean_return(rows, RANDOM) if zero is None else zero,
        hundred=_mean_return(rows, EXPERT) if hundred is None else hundred,
    )


def _episode(environment: Any, spaces: Spaces, policy: Policy, seed: int, draws: random.Random) -> list[np.ndarray]:
    """Return states, actions and rewards of one episode."""
    state, _ = environment.reset(seed=seed)
    states, actions, rewards = [], [], []
    for _ in range(spaces.longest_episode):
        action = policy(state, draws)
        states.append(np.asarray(state, np.float32))
        actions.append(spaces.from_environment(action))
        state, reward, terminated, truncated, _ = environment.step(action)
        rewards.append(reward)
        if terminated or truncated:
            break
    return [np.stack(states), np.stack(actions), np.array(rewards, np.float32)]


def _mean_return(rows: list[Any], policy: str) -> float:
    """Return the mean return of a policy. Raise ValueError where nothing of it was recorded."""
    totals = [float(rewards.sum(dtype=np.float64)) for name, _, _, rewards in rows if name == policy]
    if not totals:
        raise ValueError(
            f"no trajectories of a policy called {policy!r} were recorded, from which the scale of scores is taken; "
            "record some, or give zero= and hundred=, the returns that count as 0 and as 100"
        )
    return float(np.mean(totals))
