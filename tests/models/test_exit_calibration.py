"""Thresholds of a model: losses against every layer by hand, calibration, and the model that stays as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, TransformerConfig
from formers.computation import EarlyExit, ExitRule, Last, Saturation, SequenceDepth
from formers.computation.calibration import hoeffding_bentkus
from formers.models.exit_calibration import calibrate_exits, every_layer, exit_losses, search_threshold, set_threshold
from formers.models.exit_comparison import compare_generation, edit_distance
from formers.part import Unsupported

THRESHOLDS = (1.0, 0.97, 0.95, 0.92, 0.9, 0.5)


def model(rule: ExitRule | None = None) -> CausalLM:
    torch.manual_seed(0)
    part = EarlyExit(rule=rule or Saturation(threshold=0.93))
    sizes: dict[str, Any] = {"vocab_size": 11, "width": 24, "depth": 4, "heads": 3, "context_length": 64}
    return CausalLM(TransformerConfig(**sizes, computation=part, initializer_range=0.25)).double().train()


def sequences(count: int = 60) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randint(11, (count, 9))


def test_losses_are_those_of_both_predictions() -> None:
    made, ids = model(), sequences(7)
    losses = list(exit_losses(made, ids, [0.95, 0.5], tokens=27))
    assert made.training
    assert made.config.computation.rule == Saturation(threshold=0.93)
    made.eval()
    with every_layer(made):
        best = made(ids).logits[:, :-1].argmax(-1)
    for threshold, found in zip([0.95, 0.5], losses, strict=True):
        set_threshold(made, threshold)
        assert made.config.computation.rule.threshold == made.model.config.computation.rule.threshold == threshold
        out = made(ids)
        early = out.logits[:, :-1].argmax(-1)
        assert torch.equal(found.disagreement_n, (early != best).double().mean(1))
        more = (early != ids[:, 1:]).double().mean(1) - (best != ids[:, 1:]).double().mean(1)
        assert torch.equal(found.excess_error_n, more.clamp(min=0))
        assert torch.equal(found.layers_n, out.steps[:, :-1].double().mean(1))
    assert losses[1].layers_n.mean() < losses[0].layers_n.mean()


def test_every_layer_generates_with_a_rule_that_keeps_a_state_too() -> None:
    """The cache then holds no state of the rule; afterwards it does again."""
    made, ids = model(SequenceDepth()).eval(), sequences(2)
    written = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 3, "do_sample": False, "pad_token_id": 0}
    before = made.generate(ids, **written)
    with every_layer(made):
        whole = made.generate(ids, **written)
        assert torch.equal(whole, made.generate(ids, use_cache=False, **written))
    assert torch.equal(before, made.generate(ids, **written))


@pytest.mark.parametrize("risk", ["disagreement", "excess_error"])
def test_calibration_stops_at_the_first_threshold_that_is_not_safe(risk: Any) -> None:
    made, ids = model(), sequences()
    found = calibrate_exits(made, ids, delta=0.3, epsilon=0.1, risk=risk, thresholds=THRESHOLDS)
    assert found.sequences == 60
    losses = list(exit_losses(made, ids, THRESHOLDS))
    for candidate, loss in zip(found.candidates, losses, strict=False):
        mean = float(loss.of(risk).mean())
        assert candidate.test.risk == mean
        assert candidate.test.p_value == hoeffding_bentkus(mean, 60, 0.3)
        assert candidate.layers == pytest.approx(float(loss.layers_n.mean()))
    assert found.chosen is not None
    safe = [one for one in found.candidates if one.test.p_value <= 0.1]
    assert found.chosen == safe[-1]
    assert len(found.candidates) == min(len(safe) + 1, len(THRESHOLDS))


def test_nothing_is_chosen_where_nothing_is_safe() -> None:
    assert calibrate_exits(model(), sequences(5), delta=0.01, thresholds=THRESHOLDS).chosen is None


def test_a_search_ends_within_the_budget() -> None:
    tried = search_threshold(model(), sequences(9), layers=2.5, thresholds=THRESHOLDS)
    assert [one.threshold for one in tried] == list(THRESHOLDS[: len(tried)])
    assert tried[-1].layers <= 2.5 < tried[-2].layers
    assert tried[0].disagreement == tried[0].excess_error == 0.0


@pytest.mark.parametrize("thresholds", [(), (0.5, 0.9), (0.9, 0.9), (1.5, 0.9)], ids=str)
def test_candidates_go_down(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="thresholds must go down"):
        calibrate_exits(model(), sequences(2), delta=0.1, thresholds=thresholds)


def test_a_rule_without_a_threshold_is_refused() -> None:
    with pytest.raises(Unsupported, match="has no threshold to find"):
        calibrate_exits(model(Last()), sequences(2), delta=0.1)


def test_generations_are_compared() -> None:
    made = model(Saturation(threshold=0.0)).eval()
    compared = compare_generation(made, sequences(2), tokens=6, repeats=1)
    assert compared.layers == 2.0
    assert 0 <= compared.consistency < 1
    assert compared.speed_up == compared.seconds_every / compared.seconds > 0
    set_threshold(made, 1.0)
    same = compare_generation(made, sequences(2), tokens=6, repeats=1)
    assert (same.consistency, same.layers) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("first", "second", "distance"), [([], [1], 1), ([1, 2, 3], [1, 2, 3], 0), ([1, 2, 3, 4], [2, 3, 5], 2)]
)
def test_edit_distance(first: list[int], second: list[int], distance: int) -> None:
    assert edit_distance(first, second) == edit_distance(second, first) == distance
