"""Recorded trajectories: what was seen, done and earned, and by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from formers.part import quoted
from formers.tasks.control.environments import Spaces

MIXED = "mixed"
"""The name for the trajectories of all policies together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectories:
    """Trajectories of one environment, one after the other: N steps in E episodes.

    Attributes:
        spaces: what the states and actions are.
        states: as the environment gave them, before each action, (N, S) in float32.
        actions: as a model takes them: 0 … A − 1 in int64, (N), or from −1 to 1 in float32, (N, A).
        rewards: of each action, (N) in float32.
        lengths: the steps of each episode, (E) in int64.
        policies: the name of each episode's policy, E of them.
        zero, hundred: the mean returns that count as scores of 0 and 100: of random actions and of an expert.

    Raises:
        ValueError: where there is no trajectory, where one is empty, and for arrays that do not fit together.
    """

    spaces: Spaces
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray
    policies: tuple[str, ...]
    zero: float
    hundred: float

    def __post_init__(self) -> None:
        if not len(self.lengths):
            raise ValueError(f"there are no trajectories of {self.spaces.name}; record some, at least one")
        if (short := np.flatnonzero(np.asarray(self.lengths) < 1)).size:
            raise ValueError(f"trajectory {int(short[0])} of {len(self.lengths)} is empty; leave it out")
        steps, (width, discrete) = int(self.lengths.sum()), (self.spaces.action_size, self.spaces.discrete)
        expected = {
            "states": (steps, self.spaces.state_size),
            "actions": (steps,) if discrete else (steps, width),
            "rewards": (steps,),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name} have shape {array.shape}, but {shape} was expected: {steps} steps in all")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} hold NaN or infinity at step {int(np.argwhere(~np.isfinite(array))[0][0])}")
        if len(self.policies) != len(self.lengths):
            raise ValueError(f"{len(self.policies)} names of policies for {len(self.lengths)} trajectories")
        if discrete and not ((self.actions >= 0) & (self.actions < width)).all():
            raise ValueError(
                f"actions must be 0 … {width - 1}, but go from {self.actions.min()} to {self.actions.max()}"
            )
        if not self.hundred > self.zero:
            raise ValueError(
                f"the return that counts as 100 must be larger than that which counts as 0, but {self.hundred:g} and "
                f"{self.zero:g} were given"
            )

    @cached_property
    def starts(self) -> np.ndarray:
        """The first step of each episode, (E)."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def returns(self) -> np.ndarray:
        """The sum of rewards of each episode, (E) in float64."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.starts)

    def returns_to_go(self, delayed: bool = False) -> np.ndarray:
        """Return the sum of rewards from each step to the end of its episode, (N) in float64.

        With `delayed`, as if each episode were paid as a whole at its end: it is the whole return at every step.
        """
        ends = np.repeat(self.returns, self.lengths)
        if delayed:
            return ends
        sums = np.concatenate([[0.0], np.cumsum(self.rewards, dtype=np.float64)])
        return np.repeat(sums[self.starts + self.lengths], self.lengths) - sums[:-1]

    def chosen(self, episodes: Sequence[int] | np.ndarray) -> Trajectories:
        """Return these episodes alone, in this order."""
        steps = [np.arange(self.starts[i], self.starts[i] + self.lengths[i]) for i in episodes]
        index = np.concatenate(steps) if steps else np.arange(0)
        return Trajectories(
            spaces=self.spaces,
            states=self.states[index],
            actions=self.actions[index],
            rewards=self.rewards[index],
            lengths=self.lengths[list(episodes)],
            policies=tuple(self.policies[i] for i in episodes),
            zero=self.zero,
            hundred=self.hundred,
        )

    def of_policy(self, name: str) -> Trajectories:
        """Return the episodes of one policy; all for `mixed`. Raise ValueError, naming those there are, for others."""
        if name == MIXED:
            return self
        known = sorted(set(self.policies))
        if name not in known:
            raise ValueError(
                f"there are no trajectories of a policy {quoted(name)}; there are those of {', '.join(known)}, and "
                f"{MIXED} is all of them"
            )
        return self.chosen([i for i, policy in enumerate(self.policies) if policy == name])

    def best(self, share: float) -> Trajectories:
        """Return the share of episodes with the highest returns, at least one, the earlier ones first."""
        count = max(1, round(share * len(self.lengths)))
        ranked = np.argsort(-self.returns, kind="stable")
        return self.chosen(np.sort(ranked[:count]))

    def score(self, total: float) -> float:
        """Return a return on the scale on which random actions have 0 and the expert has 100."""
        return 100 * (total - self.zero) / (self.hundred - self.zero)

    def return_of(self, score: float) -> float:
        """Return the return that has this score."""
        return self.zero + score / 100 * (self.hundred - self.zero)

    def summary(self) -> Mapping[str, Any]:
        """Return policy → (episodes, steps, mean return), in the order of their first episodes."""
        rows = {}
        for name in dict.fromkeys(self.policies):
            own = np.array([policy == name for policy in self.policies])
            rows[name] = (int(own.sum()), int(self.lengths[own].sum()), float(self.returns[own].mean()))
        return rows
