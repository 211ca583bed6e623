"""Rollouts: a model acts in an environment for a return that is asked for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from formers.part import evaluating
from formers.tasks.control.environments import Spaces, make_environment
from formers.tasks.control.windows import Scaling

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass
class Rollout:
    """One episode of a model.

    Attributes:
        seed: of the environment, from which everything follows but the model's actions.
        asked: the return that was asked for.
        actions: as the environment took them.
        total: the return that was reached.
    """

    seed: int
    asked: float
    actions: list[Any] = field(default_factory=list)
    total: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Player:
    """Acts with a model, which sees its last `length` steps: their states, actions, and returns that were left.

    Attributes:
        model: a `DecisionTransformer`.
        spaces: those of the environment.
        scaling: that of the model's training.
        length: steps that the model sees, K.
        delayed: whether rewards come at the end of an episode: the return that is left stays what was asked for.
        greedy: whether the likeliest of discrete actions is taken, instead of one drawn by its probability.
    """

    model: PreTrainedModel
    spaces: Spaces
    scaling: Scaling
    length: int
    delayed: bool = False
    greedy: bool = False

    def play(self, seeds: Sequence[int], asked_for: Sequence[float]) -> list[Rollout]:
        """Return an episode for each seed and asked-for return, all of them side by side; each depends on its own only.

        Leaves the model and every random state as they were.
        """
        rollouts = [Rollout(seed, target) for seed, target in zip(seeds, asked_for, strict=True)]
        environments = [make_environment(self.spaces.name) for _ in rollouts]
        try:
            with evaluating(self.model):
                self._run(rollouts, environments)
        finally:
            for environment in environments:
                environment.close()
        return rollouts

    def _run(self, rollouts: list[Rollout], environments: list[Any]) -> None:
        histories = [_History(one, env) for one, env in zip(rollouts, environments, strict=True)]
        for step in range(self.spaces.longest_episode):
            active = [history for history in histories if not history.is_over]
            if not active:
                return
            predicted = self.predict([history.window(self.length) for history in active], step)
            for history, action in zip(active, predicted, strict=True):
                chosen = self.choose(action, history.draws)
                history.step(chosen, self.spaces.to_environment(chosen), self.delayed)

    def predict(self, windows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], step: int) -> np.ndarray:
        """Return what the model predicts for the last step of each window: logits, or a continuous action, (rows, A).

        All windows have the same steps, up to `step`.
        """
        states, actions, left = (np.stack(arrays) for arrays in zip(*windows, strict=True))
        rows, seen = left.shape
        inputs: dict[str, Tensor] = {
            "states": torch.from_numpy(self.scaling.states(states)),
            "actions": torch.from_numpy(actions),
            "timesteps": torch.arange(step - seen + 1, step + 1).expand(rows, -1),
            "returns_to_go": torch.from_numpy(self.scaling.returns(left)),
        }
        batch = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
        return np.asarray(self.model(**batch).action_preds[:, -1].double().cpu())

    def choose(self, predicted: np.ndarray, draws: random.Random) -> Any:
        """Return an action as a model takes it: the continuous one that is predicted, or one by the logits, (A)."""
        if not self.spaces.discrete:
            return predicted.astype(np.float32)
        if self.greedy:
            return int(predicted.argmax())
        weights = np.exp(predicted - predicted.max())
        chances = np.cumsum(weights / weights.sum())
        return min(int(np.searchsorted(chances, draws.random(), side="right")), len(predicted) - 1)


class _History:
    """What has happened in one episode so far."""

    def __init__(self, rollout: Rollout, environment: Any) -> None:
        self.rollout, self.environment, self.is_over = rollout, environment, False
        self.draws = random.Random(f"rollout/{rollout.seed}")
        state, _ = environment.reset(seed=rollout.seed)
        self.states, self.left = [np.asarray(state, np.float32)], [rollout.asked]
        self.actions: list[Any] = []

    def window(self, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the last steps: states, actions, of which the last one, not known yet, is 0, and returns left."""
        return np.stack(self.states[-length:]), self._known_actions(length), np.array(self.left[-length:])

    def _known_actions(self, length: int) -> np.ndarray:
        known = self.actions[max(0, len(self.actions) - length + 1) :]
        return np.stack([*known, np.zeros_like(known[-1])]) if known else self._no_action()

    def _no_action(self) -> np.ndarray:
        space = self.environment.action_space
        return np.zeros((1, *space.shape), np.int64 if space.shape == () else np.float32)

    def step(self, chosen: Any, action: Any, delayed: bool) -> None:
        """Take an action, `chosen` as the model takes it and `action` as the environment does."""
        state, reward, terminated, truncated, _ = self.environment.step(action)
        self.actions.append(np.asarray(chosen))
        self.rollout.actions.append(action)
        self.rollout.total += float(reward)
        self.states.append(np.asarray(state, np.float32))
        self.left.append(self.left[-1] - (0.0 if delayed else float(reward)))
        self.is_over = bool(terminated or truncated)
