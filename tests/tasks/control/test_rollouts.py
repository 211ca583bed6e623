from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from formers.tasks.control.environments import spaces_of
from formers.tasks.control.rollouts import Player
from formers.tasks.control.windows import Scaling

pytest.importorskip("gymnasium", reason="the extra control")
WEIGHTS = torch.tensor([1.0, 1.8, 30.0, 5.0], dtype=torch.float64)
PLAIN = Scaling(mean=np.zeros(4), deviation=np.ones(4), largest=100.0)


class Recorded(nn.Module):
    """Acts by a rule on the last state, and keeps what it is given."""

    device = torch.device("cpu")

    def __init__(self, rule: Callable[[Tensor], Tensor], certainty: float = 1e3) -> None:
        super().__init__()
        self.rule, self.certainty, self.given = rule, certainty, list[dict[str, Tensor]]()

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        self.given.append(inputs)
        score_b = self.rule(inputs["states"][:, -1].double()).sign() * self.certainty
        preds = torch.stack([-score_b, score_b], -1).unsqueeze(1).expand(-1, inputs["states"].shape[1], -1)
        return SimpleNamespace(action_preds=preds)


def balance(states: Tensor) -> Tensor:
    return states @ WEIGHTS


def player(model: Any, **options: Any) -> Player:
    fields: dict[str, Any] = {"spaces": spaces_of("CartPole-v1"), "scaling": PLAIN, "length": 5}
    return Player(model=model, **fields | options)


def test_a_good_rule_balances_the_pole() -> None:
    rollouts = player(Recorded(balance)).play([3, 4], [500.0, 100.0])
    assert [rollout.total for rollout in rollouts] == [500, 500]
    assert [len(rollout.actions) for rollout in rollouts] == [500, 500]


def test_the_model_sees_its_last_steps_and_what_is_left_of_the_return() -> None:
    model = Recorded(lambda states: -torch.ones(len(states)))  # always to the left: over after ten steps or so
    [rollout] = player(model, length=3).play([0], [20.0])
    assert 8 <= rollout.total == len(rollout.actions) == len(model.given) <= 12
    assert [given["states"].shape[1] for given in model.given[:4]] == [1, 2, 3, 3]
    fourth = model.given[3]
    assert fourth["timesteps"].tolist() == [[1, 2, 3]]
    np.testing.assert_allclose(fourth["returns_to_go"], [[0.19, 0.18, 0.17]], rtol=1e-5)
    assert torch.equal(fourth["states"][0, :2], model.given[2]["states"][0, 1:])


def test_actions_that_were_taken_are_seen_and_the_next_one_is_not() -> None:
    model = Recorded(lambda states: torch.ones(len(states)))
    player(model, length=3).play([0], [20.0])
    assert [given["actions"].tolist() for given in model.given[:4]] == [[[0]], [[1, 0]], [[1, 1, 0]], [[1, 1, 0]]]


def test_with_delayed_rewards_the_return_stays_what_was_asked_for() -> None:
    model = Recorded(balance)
    player(model, delayed=True, length=2).play([0], [50.0])
    assert all(bool((given["returns_to_go"] == 0.5).all()) for given in model.given)


def test_an_episode_does_not_depend_on_those_beside_it() -> None:
    unsure = Recorded(balance, certainty=0.5)
    together = player(unsure).play([7, 8, 9], [10.0, 20.0, 30.0])
    alone = [player(unsure).play([seed], [asked])[0] for seed, asked in ((7, 10.0), (8, 20.0), (9, 30.0))]
    assert together == alone
    assert len({rollout.total for rollout in together}) > 1


def test_discrete_actions_are_drawn_by_their_probabilities_unless_greedy() -> None:
    even = Recorded(lambda states: torch.zeros(len(states)))
    [drawn] = player(even).play([1], [0.0])
    assert 0 < sum(drawn.actions) < len(drawn.actions)
    [greedy] = player(even, greedy=True).play([1], [0.0])
    assert not any(greedy.actions)


def test_random_states_and_the_mode_of_the_model_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Recorded(balance).train()
    before = torch.random.get_rng_state()
    player(model).play([0], [10.0])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.training


def test_continuous_actions_are_scaled_to_the_environments_bounds() -> None:
    class Constant(Recorded):
        def forward(self, **inputs: Tensor) -> SimpleNamespace:
            self.given.append(inputs)
            return SimpleNamespace(action_preds=torch.full((*inputs["states"].shape[:2], 1), -0.25))

    model = Constant(balance)
    scaling = Scaling(mean=np.zeros(3), deviation=np.ones(3), largest=1.0)
    [rollout] = player(model, spaces=spaces_of("Pendulum-v1"), scaling=scaling, length=4).play([0], [-100.0])
    assert len(rollout.actions) == 200
    np.testing.assert_allclose(rollout.actions[9], [-0.5])
    assert model.given[1]["actions"].shape == (1, 2, 1)
    np.testing.assert_allclose(model.given[1]["actions"].flatten(), [-0.25, 0.0])
