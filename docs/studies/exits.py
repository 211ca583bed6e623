"""The study of early exits: does a calibrated threshold keep its risk on other text, and how much time does it save?

    python docs/studies/exits_train.py FOLDER && python docs/studies/exits.py FOLDER

The validation split chooses, for each rule, candidate thresholds by the layers that they take there, and one to
generate with by Learn then Test. The test split, windows of 128 characters, is then split at random into
two halves, many times: on one half a threshold is calibrated, on the other its risk is measured. Rules without a
threshold are measured as they are. Texts are generated from the test split and timed in turns with every layer, in
seconds of the process: others may use the machine, too. Writes `exits.json` beside this file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from exits_train import with_rule
from torch import Tensor

from formers import CausalLM
from formers.computation import ExitRule, Margin, Saturation
from formers.computation.calibration import last_rejected, learn_then_test
from formers.models.exit_calibration import THRESHOLDS, ExitLosses, every_layer, exit_losses, set_threshold
from formers.models.exit_comparison import compare_generation
from formers.tasks.shakespeare import Shakespeare

LENGTH, SPLITS, EPSILON = 128, 200, 0.05
CONFIDENCES: list[tuple[str, ExitRule | None]] = [
    ("classifier", Margin()),
    ("classifier", Saturation()),
    ("classifier", None),
    ("geometric_depth", None),
]
"""Trained models and the rules with thresholds that they get; None is the rule that they were trained with."""
PREDICTORS = ["multinomial_depth", "sequence_depth"]
LAYERS = [7.5, 7.0, 6.5, 6.0, 5.5, 5.0, 4.5, 4.0]
"""The mean layers that candidate thresholds come nearest to, on a part of the validation split."""
LEVELS: list[tuple[Any, float]] = [("disagreement", 0.1), ("disagreement", 0.2), ("excess_error", 0.05)]
TEXTS, WRITTEN = 4, 64


def main(folder: Path) -> None:
    """Measure, print, and write the rows."""
    torch.set_num_threads(1)
    text = Shakespeare(length=LENGTH).text
    validation, test = windows_of(text.validation), windows_of(text.test)
    chosen_on, calibrated_on = validation[::2], validation[1::2]
    splits, generated, predicted = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for name, rule in CONFIDENCES:
        model = CausalLM.from_pretrained(folder / name)
        model = (model if rule is None else with_rule(model, rule)).eval()
        own = model.config.computation.rule.name()
        thresholds = candidates(model, chosen_on[::4])
        losses = list(exit_losses(model, test, thresholds))
        for risk, delta in LEVELS:
            splits.append({"rule": own} | in_splits(losses, risk, delta))
            print(splits[-1], flush=True)
        tests = {level: [one.of(level[0]) for one in exit_losses(model, calibrated_on, thresholds)] for level in LEVELS}
        for (risk, delta), found in tests.items():
            if (best := last_rejected(learn_then_test(iter(found), delta, EPSILON))) is not None:
                set_threshold(model, thresholds[best])
                facts = {"rule": own, "risk": risk, "delta": delta, "threshold": thresholds[best]}
                generated.append(facts | written(model, test))
                print(generated[-1], flush=True)
    for name in PREDICTORS:
        model = CausalLM.from_pretrained(folder / name).eval()
        predicted.append({"rule": name} | measured(model, test) | written(model, test))
        print(predicted[-1], flush=True)
    made = {
        "windows": len(test),
        "validation_windows": len(validation),
        "splits": splits,
        "generated": generated,
        "predictors": predicted,
    }
    (Path(__file__).parent / "exits.json").write_text(json.dumps(made, indent=1) + "\n")


def windows_of(text: Tensor) -> Tensor:
    """Return a text as windows side by side."""
    return text[: len(text) // LENGTH * LENGTH].long().view(-1, LENGTH)


def candidates(model: CausalLM, windows: Tensor) -> list[float]:
    """Return thresholds from cautious to bold: of a fixed grid, those that take the nearest to `LAYERS`."""
    layers = torch.stack([one.layers_n.mean() for one in exit_losses(model, windows, THRESHOLDS)])
    nearest = {int((layers - wanted).abs().argmin()) for wanted in LAYERS}
    return [THRESHOLDS[place] for place in sorted(nearest)]


@torch.no_grad()
def measured(model: CausalLM, windows: Tensor) -> dict[str, float]:
    """Return the risks of a rule without a threshold, and its mean layers."""
    targets, out = windows[:, 1:], model(windows, use_cache=False)
    with every_layer(model):
        whole = model(windows, use_cache=False).logits[:, :-1].argmax(-1)
    best = out.logits[:, :-1].argmax(-1)
    excess_n = ((best != targets).double().mean(1) - (whole != targets).double().mean(1)).clamp(min=0)
    layers = model.config.depth if out.steps is None else float(out.steps[:, :-1].double().mean())
    return {
        "disagreement": float((best != whole).double().mean()),
        "excess_error": float(excess_n.mean()),
        "read_layers": layers,
    }


def written(model: CausalLM, windows: Tensor) -> dict[str, float]:
    """Return how texts that go on from a few windows are like those of every layer, and how much faster."""
    prompts = windows[:: len(windows) // TEXTS][:TEXTS, :32]
    found = compare_generation(model, prompts, tokens=WRITTEN, clock=time.process_time)
    return {"consistency": found.consistency, "layers": found.layers, "speed_up": found.speed_up}


def in_splits(losses: list[ExitLosses], risk: Any, delta: float) -> dict[str, Any]:
    """Return how calibration on one half of the windows fares on the other, over many splits."""
    all_losses = torch.stack([one.of(risk) for one in losses])
    all_layers = torch.stack([one.layers_n for one in losses])
    generator = torch.Generator().manual_seed(0)
    found = [one_split(all_losses, all_layers, delta, generator) for _ in range(SPLITS)]
    chosen = [split for split in found if split is not None]
    facts: dict[str, Any] = {"risk": risk, "delta": delta, "calibrated": len(chosen) / SPLITS}
    if not chosen:
        return facts | dict.fromkeys(("above_delta", "mean_risk", "largest_risk", "layers"))
    risks, layers = torch.tensor(chosen, dtype=torch.float64).unbind(1)
    return facts | {
        "above_delta": sum(one > delta for one, _ in chosen) / SPLITS,
        "mean_risk": float(risks.mean()),
        "largest_risk": float(risks.max()),
        "layers": float(layers.mean()),
    }


def one_split(
    losses_tn: Tensor, layers_tn: Tensor, delta: float, generator: torch.Generator
) -> tuple[float, float] | None:
    """Return the risk and the mean number of layers on one half with the threshold found on the other, if any is."""
    order = torch.randperm(losses_tn.shape[1], generator=generator)
    half, rest = order[: len(order) // 2], order[len(order) // 2 :]
    chosen = last_rejected(learn_then_test(losses_tn[:, half], delta, EPSILON))
    return None if chosen is None else (float(losses_tn[chosen, rest].mean()), float(layers_tn[chosen, rest].mean()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
