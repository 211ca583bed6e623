"""Learn then Test: the p-values against exact ones, and the promise against simulation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from formers.computation.calibration import hoeffding_bentkus, last_rejected, learn_then_test


def exact_bentkus(total: int, count: int, delta: Fraction) -> float:
    """e · P(Bin(n, δ) ≤ total) in rational numbers."""
    terms = (math.comb(count, k) * delta**k * (1 - delta) ** (count - k) for k in range(total + 1))
    return math.e * float(sum(terms, Fraction(0)))


@pytest.mark.parametrize(("total", "count"), [(0, 20), (3, 60), (7, 100)])
def test_the_p_value_is_the_smaller_of_both_bounds(total: int, count: int) -> None:
    delta, risk = Fraction(1, 10), total / count
    h1 = (risk * math.log(risk / 0.1) if total else 0.0) + (1 - risk) * math.log((1 - risk) / 0.9)
    expected = min(math.exp(-count * h1), exact_bentkus(total, count, delta), 1.0)
    assert hoeffding_bentkus(risk, count, 0.1) == pytest.approx(expected, rel=1e-9)


def test_a_risk_above_the_level_is_never_rejected() -> None:
    assert hoeffding_bentkus(0.1, 1000, 0.1) == 1.0
    assert hoeffding_bentkus(1.0, 5, 0.3) == 1.0


def test_a_mean_between_two_counts_is_rounded_up() -> None:
    bentkus = exact_bentkus(3, 100, Fraction(1, 10))  # smaller than Hoeffding's bound of 2.9
    assert hoeffding_bentkus(2.9 / 100, 100, 0.1) == pytest.approx(bentkus, rel=1e-9)
    assert hoeffding_bentkus(3 / 50, 50, 0.1) == hoeffding_bentkus(0.06, 50, 0.1)  # 50 · 0.06 is not whole in floats


@pytest.mark.parametrize("fractional", [False, True], ids=["0 or 1", "between"])
def test_the_risk_stays_below_delta_as_often_as_promised(fractional: bool) -> None:
    """Bolder candidates have larger risks, of the same examples; the last one that is safe by the test is taken."""
    delta, epsilon, trials, count = 0.1, 0.1, 1000, 80
    risks_t = torch.linspace(0.0, 0.3, 16, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    missed = taken = 0
    for _ in range(trials):
        u_n = torch.rand(count, generator=generator, dtype=torch.float64)
        # u < 2r, and then r/(2r) = ½ on average: two losses of mean r that grow with it
        losses_tn = (u_n < risks_t[:, None]) if not fractional else (u_n < 2 * risks_t[:, None]) * 0.5
        chosen = last_rejected(learn_then_test(losses_tn.double(), delta, epsilon))
        taken += chosen is not None
        missed += chosen is not None and float(risks_t[chosen]) > delta
    assert taken > 0.9 * trials  # the promise is not kept by never choosing
    assert missed / trials <= epsilon + 3 * math.sqrt(epsilon * (1 - epsilon) / trials)


def test_testing_ends_at_the_first_failure() -> None:
    asked = []

    def losses() -> Iterator[Tensor]:
        for risk in (0.0, 0.0, 0.5, 0.0):
            asked.append(risk)
            yield torch.full((100,), risk)

    tests = learn_then_test(losses(), 0.1, 0.05)
    assert asked == [0.0, 0.0, 0.5]
    assert [test.rejected for test in tests] == [True, True, False]
    assert last_rejected(tests) == 1


def test_too_few_examples_make_nothing_safe() -> None:
    assert last_rejected(learn_then_test([torch.zeros(5)], 0.1, 0.05)) is None


@pytest.mark.parametrize(
    ("losses", "delta", "epsilon", "message"),
    [
        (torch.zeros(5), 0.0, 0.05, "delta must be between 0 and 1"),
        (torch.zeros(5), 0.1, 1.0, "epsilon must be between 0 and 1"),
        (torch.full((5,), 1.5), 0.1, 0.05, r"losses must be in \[0, 1\]"),
        (torch.full((5,), torch.nan), 0.1, 0.05, r"losses must be in \[0, 1\]"),
        (torch.zeros(0), 0.1, 0.05, "with one at least"),
        (torch.zeros(2, 5), 0.1, 0.05, r"shape \(examples,\)"),
    ],
    ids=str,
)
def test_wrong_input_is_refused(losses: Tensor, delta: float, epsilon: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learn_then_test([losses], delta, epsilon)
