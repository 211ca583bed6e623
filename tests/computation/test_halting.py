"""Graves' rule, by hand: when tokens stop, what they output, and what they cost."""

from __future__ import annotations

import torch
from torch import Tensor

from formers.computation.halting import HaltingProgress

ROWS = {
    "three steps": [0.4, 0.3, 0.5, 0.9],
    "one step": [0.995, 0.2, 0.2, 0.2],
    "all four": [0.1, 0.2, 0.3, 0.1],
    "padding": [0.9, 0.9, 0.9, 0.9],
}
"""Probabilities of halting after each step, one token a row."""


def run(p_bn: list[list[float]], real_b: list[bool], steps: int = 4) -> HaltingProgress:
    """Return the progress of one token a row whose states are 1, 10, 100 and 1000."""
    real_bl = torch.tensor(real_b).unsqueeze(1)
    progress = HaltingProgress.start(torch.zeros(len(p_bn), 1, 1, dtype=torch.float64), real_bl)
    for n in range(steps):
        p_bl = torch.tensor(p_bn, dtype=torch.float64)[:, n : n + 1]
        state_bld = torch.full((len(p_bn), 1, 1), 10.0**n, dtype=torch.float64)
        progress = progress.after(state_bld, p_bl, threshold=0.99, is_last=n == steps - 1)
    return progress


def flat(t: Tensor) -> Tensor:
    return t.double().flatten()


def test_halting_by_hand() -> None:
    progress = run(list(ROWS.values()), [True, True, True, False])
    assert progress.steps_bl.flatten().tolist() == [3, 1, 4, 0]
    torch.testing.assert_close(flat(progress.remainder_bl), torch.tensor([0.3, 1.0, 0.4, 0.0]).double())
    means = [0.4 * 1 + 0.3 * 10 + 0.3 * 100, 1.0, 0.1 * 1 + 0.2 * 10 + 0.3 * 100 + 0.4 * 1000, 0.0]
    torch.testing.assert_close(flat(progress.mean_bld), torch.tensor(means).double())
    assert not progress.active_bl.any()


def test_the_cost_is_averaged_over_real_tokens() -> None:
    real_b = [True, True, True, False]
    progress = run(list(ROWS.values()), real_b)
    cost = progress.cost(torch.tensor(real_b).unsqueeze(1))
    torch.testing.assert_close(cost, torch.tensor((3.3 + 2.0 + 4.4) / 3).double())
    nothing = run([ROWS["padding"]], [False])
    assert nothing.cost(torch.tensor([[False]])) == 0


def test_a_token_goes_on_until_the_sum_is_enough() -> None:
    progress = run([[0.5, 0.48, 0.01, 0.5]], [True], steps=3)
    assert progress.steps_bl.item() == 3, "0.98 is not enough, 0.99 is"
    torch.testing.assert_close(flat(progress.remainder_bl), torch.tensor([0.02]).double())


def test_the_gradient_of_the_cost_is_that_of_the_remainder() -> None:
    p_n = torch.tensor([0.4, 0.3, 0.5], dtype=torch.float64, requires_grad=True)
    progress = HaltingProgress.start(torch.zeros(1, 1, 1, dtype=torch.float64), None)
    for n in range(3):
        progress = progress.after(torch.ones(1, 1, 1), p_n[n].view(1, 1), threshold=0.99, is_last=False)
    (gradient,) = torch.autograd.grad(progress.cost(None), p_n)
    assert gradient.tolist() == [-1, -1, 0], "R = 1 − p_1 − p_2"
