"""Examples: K steps of a trajectory, padded on the left."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
import torch

from formers.tasks.control.trajectories import Trajectories
from formers.tasks.task import Example

_IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The numbers by which a model's inputs are scaled.

    Attributes:
        mean, deviation: of each number in a state, over all steps, (S) each; the deviation is never 0.
        largest: the largest return in size, at least 1e-6; returns are divided by it.
    """

    mean: np.ndarray = field(repr=False)
    deviation: np.ndarray = field(repr=False)
    largest: float

    @classmethod
    def of(cls, trajectories: Trajectories) -> Scaling:
        """Return the scaling by which these trajectories have states of mean 0 and deviation 1."""
        states = trajectories.states.astype(np.float64)
        deviation = states.std(0)
        return cls(
            mean=states.mean(0),
            deviation=np.where(deviation < 1e-6, 1.0, deviation),  # a number that never changes stays 0
            largest=max(float(np.abs(trajectories.returns).max()), 1e-6),
        )

    def states(self, states: np.ndarray) -> np.ndarray:
        """Return states as a model takes them, in float32."""
        return ((states - self.mean) / self.deviation).astype(np.float32)

    def returns(self, returns: np.ndarray) -> np.ndarray:
        """Return returns as a model takes them, in float32."""
        return (np.asarray(returns) / self.largest).astype(np.float32)


class Windows:
    """Windows of `length` steps, drawn so that every step is equally often the first.

    So trajectories are drawn by their lengths. Near the end of one, the window is padded on the left.
    """

    def __init__(self, trajectories: Trajectories, scaling: Scaling, length: int, *, delayed: bool = False) -> None:
        """Take trajectories; `delayed` tells whether all rewards of an episode come at its end."""
        self.length, self.discrete = length, trajectories.spaces.discrete
        self.states = scaling.states(trajectories.states)
        self.actions = trajectories.actions
        self.returns = scaling.returns(trajectories.returns_to_go(delayed))
        self.ends = np.cumsum(trajectories.lengths)
        self.steps = np.concatenate([np.arange(length) for length in trajectories.lengths])

    def draw(self, stream: random.Random) -> Example:
        """Return a window that begins at any step."""
        return self.at(stream.randrange(len(self.steps)))

    def at(self, first: int) -> Example:
        """Return the window that begins at this step of all."""
        end = min(first + self.length, int(self.ends[np.searchsorted(self.ends, first, side="right")]))
        padding = self.length - (end - first)

        def padded(array: np.ndarray, fill: float = 0) -> torch.Tensor:
            rows = array[first:end]
            return torch.from_numpy(np.concatenate([np.full((padding, *rows.shape[1:]), fill, rows.dtype), rows]))

        return {
            "states": padded(self.states),
            "actions": padded(self.actions),
            "timesteps": padded(self.steps),
            "returns_to_go": padded(self.returns),
            "attention_mask": (torch.arange(self.length) >= padding).long(),
            "labels": padded(self.actions, _IGNORED),
        }
