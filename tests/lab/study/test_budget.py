from __future__ import annotations

import pytest

from formers.lab import Budget


def test_the_last_step_is_evaluated() -> None:
    assert Budget(steps=10, evaluations=3).evaluation_steps == {3, 7, 10}
    assert Budget(steps=2, evaluations=5).evaluation_steps == {1, 2}
    assert Budget(steps=7, evaluations=1).evaluation_steps == {7}


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"learning_rate": -1.0}, {"warmup": 1.0}, {"weight_decay": -0.1}, {"batch_size": 0}]
)
def test_amounts_that_cannot_work(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Budget(**wrong)  # type: ignore[arg-type]


def test_types() -> None:
    with pytest.raises(TypeError, match="whole number"):
        Budget(steps=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="learning_rate must be a number"):
        Budget(learning_rate="fast")  # type: ignore[arg-type]
    assert isinstance(Budget(clip=1).clip, float)


def test_a_budget_in_words() -> None:
    assert Budget(steps=5, batch_size=2).describe(16) == "5 steps × 2 × 16 tokens, learning rate 0.001"


@pytest.mark.parametrize(
    "amounts",
    [
        {"steps": float("inf")},
        {"learning_rate": float("nan")},
        {"clip": float("inf")},
        {"weight_decay": float("nan")},
        {"steps": 10**400},
        {"evaluations": 10**9, "steps": 10**9},
        {"batch_size": 10**12},
        {"steps": 10**10},
    ],
)
def test_amounts_that_nobody_means(amounts: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be a finite number|is at most") as caught:
        Budget(**amounts)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


def test_a_shorter_training_is_evaluated_less_often() -> None:
    usual = Budget(steps=1000, evaluations=5)
    steps = (1, 150, 401, 601, 1000, 16_000)
    assert [usual.with_steps(count).evaluations for count in steps] == [2, 2, 3, 4, 5, 5]
    assert usual.with_steps(150) == Budget(steps=150, evaluations=2)
    assert Budget(steps=1000, evaluations=1).with_steps(10).evaluations == 1
