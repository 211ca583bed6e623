"""Learn then Test: thresholds whose risk is bounded with high probability, from losses on held-out examples.

The risk of a threshold λ is the mean of a loss in [0, 1]. Candidates are tested from the most cautious to the boldest,
each against the hypothesis that its risk exceeds δ, and testing ends at the first one that is not rejected. Whatever
the model and the distribution, the last rejected λ has P(risk(λ) ≤ δ) ≥ 1 − ε over the draw of the examples, if these
are independent and identically distributed.
Source: Angelopoulos et al. 2021, arXiv:2110.01052; for early exits, Schuster et al. 2022 (CALM), arXiv:2207.07061.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TestedRisk:
    """The test of one candidate.

    Attributes:
        risk: the mean loss of the examples.
        p_value: of the hypothesis that the true risk exceeds δ.
        rejected: whether this hypothesis and those of all candidates before it are rejected: the candidate is safe.
    """

    risk: float
    p_value: float
    rejected: bool


def hoeffding_bentkus(risk: float, count: int, delta: float) -> float:
    """Return a p-value of the hypothesis that the mean of a loss in [0, 1] exceeds δ.

    With R̂ the mean of n independent losses, h₁(a, b) = a·log(a/b) + (1 − a)·log((1 − a)/(1 − b)), and Bin binomial,
    p = min(exp(−n·h₁(min(R̂, δ), δ)), e·P(Bin(n, δ) ≤ ⌈n·R̂⌉), 1). Time and memory grow with n.

    Args:
        risk: R̂, the mean loss.
        count: n, how many losses it is the mean of.
        delta: the level δ in (0, 1).
    """
    check_level("delta", delta)
    if not 0 <= risk <= 1:
        raise ValueError(f"risk must be the mean of losses in [0, 1], but {risk} was given")
    if count < 1:
        raise ValueError(f"count must be at least 1, but {count} was given")
    hoeffding = math.exp(-count * _divergence(min(risk, delta), delta))
    bentkus = math.e * _binomial_cdf(math.ceil(round(count * risk, 9)), count, delta)
    return min(hoeffding, bentkus, 1.0)


def learn_then_test(losses: Iterable[Tensor], delta: float, epsilon: float) -> list[TestedRisk]:
    """Return the tests of candidates by fixed-sequence testing, up to the first one that is not rejected.

    The boldest safe candidate is the last with `rejected`; where there is none, no candidate is safe.

    Args:
        losses: of each candidate, the losses of the same examples, (n,), in [0, 1]; from the most cautious candidate to
            the boldest, an order that must not depend on these examples. They are asked for one by one, so that those
            behind the first failure need not be computed.
        delta: the risk that is tolerated, in (0, 1).
        epsilon: the probability that the risk exceeds it all the same, in (0, 1).
    """
    check_level("delta", delta)
    check_level("epsilon", epsilon)
    tests: list[TestedRisk] = []
    for losses_n in losses:
        _check_losses(losses_n)
        risk = float(losses_n.double().mean())
        p_value = hoeffding_bentkus(risk, len(losses_n), delta)
        tests.append(TestedRisk(risk, p_value, p_value <= epsilon))
        if not tests[-1].rejected:
            break
    return tests


def last_rejected(tests: list[TestedRisk]) -> int | None:
    """Return the index of the boldest safe candidate; None where no candidate is safe."""
    safe = [i for i, test in enumerate(tests) if test.rejected]
    return safe[-1] if safe else None


def check_level(name: str, value: float) -> None:
    """Raise ValueError unless a level is strictly between 0 and 1."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, without either, but {value} was given")


def _check_losses(losses_n: Tensor) -> None:
    """Raise ValueError unless there are losses, one each, in [0, 1]."""
    if losses_n.ndim != 1 or not len(losses_n):
        raise ValueError(f"losses must have shape (examples,), with one at least, not {tuple(losses_n.shape)}")
    if not bool(((losses_n >= 0) & (losses_n <= 1)).all()):
        raise ValueError(
            f"losses must be in [0, 1], but they go from {losses_n.min():g} to {losses_n.max():g}; scale or clip them"
        )


def _divergence(a: float, b: float) -> float:
    """Return h₁(a, b), the Kullback-Leibler divergence of two coins, for b in (0, 1)."""
    left = a * math.log(a / b) if a else 0.0
    right = (1 - a) * math.log((1 - a) / (1 - b)) if a < 1 else 0.0
    return left + right


def _binomial_cdf(most: int, count: int, chance: float) -> float:
    """Return P(Bin(count, chance) ≤ most)."""
    if most >= count:
        return 1.0
    k = torch.arange(most + 1, dtype=torch.float64)
    n = torch.tensor(float(count), dtype=torch.float64)
    ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return float(torch.logsumexp(ways + k * math.log(chance) + (n - k) * math.log1p(-chance), 0).exp())
