"""Thresholds of early exits whose risk is bounded with high probability, found on held-out sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from formers.computation import EarlyExit
from formers.computation.calibration import TestedRisk, last_rejected, learn_then_test
from formers.computation.exit_rules import LastModule
from formers.models.causal_lm import CausalLM
from formers.part import Unsupported, eval_mode

Risk = Literal["disagreement", "excess_error"]
THRESHOLDS = tuple(round(1 - (i / 32) ** 2, 4) for i in range(1, 32))
"""Candidates from cautious to bold, the closer the nearer to 1: cosines of hidden states differ there alone."""


@dataclass(frozen=True)
class ExitLosses:
    """Losses of sequences that are read with a threshold, against the same with every layer.

    Attributes:
        disagreement_n: share of the tokens that would be predicted otherwise.
        excess_error_n: share of the tokens predicted wrongly, beyond that of every layer; 0 where it is less.
        layers_n: mean number of layers.
    """

    disagreement_n: Tensor
    excess_error_n: Tensor
    layers_n: Tensor

    def of(self, risk: Risk) -> Tensor:
        """Return the losses of one kind, (n,)."""
        return self.disagreement_n if risk == "disagreement" else self.excess_error_n


@dataclass(frozen=True)
class CandidateThreshold:
    """A threshold that was tried: its test, and the mean number of layers with it."""

    threshold: float
    test: TestedRisk
    layers: float


@dataclass(frozen=True)
class TradedThreshold:
    """Mean layers of a threshold, and its mean losses, as in `ExitLosses`."""

    threshold: float
    layers: float
    disagreement: float
    excess_error: float


@dataclass(frozen=True)
class ExitCalibration:
    """Everything that calibration found.

    Attributes:
        delta, epsilon, risk: P(risk ≤ δ) ≥ 1 − ε holds for the chosen threshold.
        sequences: how many were read.
        candidates: from cautious to bold, up to the first that is not safe.
        chosen: the boldest safe one; None where none is, and only every layer will do.
    """

    delta: float
    epsilon: float
    risk: Risk
    sequences: int
    candidates: tuple[CandidateThreshold, ...]
    chosen: CandidateThreshold | None


def calibrate_exits(
    model: CausalLM,
    ids: Tensor,
    *,
    delta: float,
    epsilon: float = 0.05,
    risk: Risk = "disagreement",
    thresholds: Sequence[float] = THRESHOLDS,
) -> ExitCalibration:
    """Find the boldest threshold of the model's rule that keeps a risk: P(risk ≤ δ) ≥ 1 − ε, by Learn then Test.

    The risk is the mean over sequences of a loss in [0, 1]. Sequences must be drawn as those that the promise is for,
    independently, and must not be trained on. The model keeps the threshold it has; see `set_threshold`.

    Args:
        ids: tokens of sequences of one length, (n, L).
        delta: the risk that is tolerated.
        epsilon: the probability that it is exceeded all the same.
        risk: `disagreement`, the share of tokens that would be predicted otherwise than with every layer; or
            `excess_error`, by how much the share of wrong predictions grows.
        thresholds: candidates from cautious to bold, chosen without a look at these sequences.

    Costs a pass over all sequences for each candidate up to the first that is not safe, and one for every layer.
    Source: Schuster et al. 2022 (CALM), arXiv:2207.07061, section 4; Angelopoulos et al. 2021, arXiv:2110.01052.
    """
    _check_order(thresholds)
    layers: list[float] = []

    def losses() -> Iterator[Tensor]:
        for found in exit_losses(model, ids, thresholds):
            layers.append(float(found.layers_n.mean()))
            yield found.of(risk)

    tests = learn_then_test(losses(), delta, epsilon)
    candidates = tuple(map(CandidateThreshold, thresholds, tests, layers))
    last = last_rejected(tests)
    chosen = None if last is None else candidates[last]
    return ExitCalibration(delta, epsilon, risk, len(ids), candidates, chosen)


def search_threshold(
    model: CausalLM, ids: Tensor, *, layers: float, thresholds: Sequence[float] = THRESHOLDS
) -> list[TradedThreshold]:
    """Try thresholds on validation sequences, (n, L), up to the first one within a budget of layers: the last returned.

    It is the best of those within the budget, as bolder ones have larger losses; where none of them is, it is the
    boldest. Nothing is promised of other text: see `calibrate_exits`.

    Args:
        layers: the mean number of layers that a token may take.
        thresholds: candidates from cautious to bold.
    """
    _check_order(thresholds)
    tried: list[TradedThreshold] = []
    for threshold, found in zip(thresholds, exit_losses(model, ids, thresholds), strict=True):
        means = (float(one.mean()) for one in (found.layers_n, found.disagreement_n, found.excess_error_n))
        tried.append(TradedThreshold(threshold, *means))
        if tried[-1].layers <= layers:
            break
    return tried


@torch.no_grad()
def exit_losses(
    model: CausalLM, ids: Tensor, thresholds: Sequence[float], *, tokens: int = 1 << 13
) -> Iterator[ExitLosses]:
    """Yield the losses of the same sequences, (n, L), with each threshold, about `tokens` tokens at a time."""
    _rule_of(model)
    rows = max(1, tokens // ids.shape[1])
    targets = ids[:, 1:]
    with eval_mode(model):
        with every_layer(model):
            best_of_all = torch.cat([_predicted(model, part)[0] for part in ids.split(rows)])
        wrong_of_all = (best_of_all != targets).double().mean(1)
        for threshold in thresholds:
            with threshold_set(model, threshold):
                found = [_predicted(model, part) for part in ids.split(rows)]
            best, layers = (torch.cat(parts) for parts in zip(*found, strict=True))
            excess_n = ((best != targets).double().mean(1) - wrong_of_all).clamp(min=0)
            yield ExitLosses((best != best_of_all).double().mean(1), excess_n, layers)


def set_threshold(model: CausalLM, threshold: float) -> None:
    """Give the rule of a model with early exits another threshold, which its configuration then says, too."""
    module: Any = model.model.computation
    part: EarlyExit = module.part
    rule = _rule_of(model).swap(threshold=threshold)
    module.part = replace(part, rule=rule)
    module.rule.rule = rule
    for config in (model.config, model.model.config):
        config.computation = module.part


@contextmanager
def threshold_set(model: CausalLM, threshold: float) -> Iterator[None]:
    """Give the rule of a model another threshold for a while."""
    before = _rule_of(model).threshold
    set_threshold(model, threshold)
    try:
        yield
    finally:
        set_threshold(model, before)


@contextmanager
def every_layer(model: CausalLM) -> Iterator[None]:
    """Let no token of a model leave early for a while."""
    module: Any = model.model.computation
    with module.other_rule(LastModule()):
        yield


def _predicted(model: CausalLM, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the likeliest next token of all tokens but the last, (n, L − 1), and the mean number of layers, (n,)."""
    out = model(ids.to(model.device), use_cache=False)
    best = out.logits[:, :-1].argmax(-1).cpu()
    if out.steps is None:
        return best, torch.full((len(ids),), float(model.config.depth), dtype=torch.float64)
    return best, out.steps[:, :-1].double().mean(1).cpu()


def _rule_of(model: CausalLM) -> Any:
    """Return the rule of a model. Raise Unsupported where there is none with a threshold."""
    part = model.config.computation
    if not isinstance(part, EarlyExit):
        raise Unsupported(
            f"the model has computation={part}, which has no threshold to find; train one with computation=early_exit, "
            "so that every layer learns to predict"
        )
    rule = part.rule
    if not hasattr(rule, "threshold"):
        raise Unsupported(
            f"the model has computation={part}, which has no threshold to find; give it a rule that has one: --rule "
            "margin on the command line, in Python convert_weights(model, model.config.swap(computation=…))"
        )
    return rule


def _check_order(thresholds: Sequence[float]) -> None:
    """Raise ValueError unless there are candidates, in [0, 1], each below the one before."""
    ordered = all(one > other for one, other in pairwise(thresholds))
    if not thresholds or not ordered or not 0 <= min(thresholds) <= max(thresholds) <= 1:
        raise ValueError(f"thresholds must go down from cautious to bold, in [0, 1], but {list(thresholds)} was given")
