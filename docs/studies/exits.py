"""The study of early exits: does a calibrated threshold keep its risk on other text, and how much time does it save?

    python docs/studies/exits_train.py FOLDER && python docs/studies/exits.py FOLDER

Windows of held-out text, every third of the last 10 % of Shakespeare's plays, are split at random into two halves, many
times: on one half a threshold is calibrated, on the other its risk is measured. Losses of all windows with all
thresholds are computed once. Then texts are generated with thresholds calibrated on all windows, and timed in turns
with every layer, in seconds of the process: others may use the machine, too. Writes `exits.json` beside this file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from formers import CausalLM
from formers.computation import ExitRule, Margin, Saturation
from formers.computation.calibration import last_rejected, learn_then_test
from formers.models import convert_weights
from formers.models.exit_calibration import ExitLosses, exit_losses, set_threshold
from formers.models.exit_comparison import compare_generation
from formers.tasks.shakespeare import Shakespeare

LENGTH, EVERY, SPLITS, EPSILON = 128, 3, 200, 0.05
RULES: list[tuple[ExitRule, list[float]]] = [
    (Margin(), [0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
    (Saturation(), [0.99, 0.985, 0.98, 0.97, 0.96, 0.94, 0.92, 0.9]),
]
LEVELS: list[tuple[Any, float]] = [
    ("disagreement", 0.05),
    ("disagreement", 0.1),
    ("disagreement", 0.2),
    ("excess_error", 0.02),
    ("excess_error", 0.05),
]
GENERATED: list[tuple[Any, float]] = [("disagreement", 0.1), ("disagreement", 0.2), ("excess_error", 0.05)]
"""Levels that texts are generated for."""


def main(folder: Path) -> None:
    """Measure, print, and write the rows."""
    torch.set_num_threads(1)
    text = Shakespeare(length=LENGTH).text
    held_out = torch.cat([text.validation, text.test]).long()
    windows = held_out[: len(held_out) // LENGTH * LENGTH].view(-1, LENGTH)[::EVERY]
    splits, generated = list[dict[str, Any]](), list[dict[str, Any]]()
    for rule, thresholds in RULES:
        model = with_rule(folder, rule)
        losses = list(exit_losses(model, windows, thresholds))
        for risk, delta in LEVELS:
            splits.append({"rule": rule.name()} | in_splits(losses, risk, delta))
            print(splits[-1], flush=True)
        for risk, delta in GENERATED:
            tests = learn_then_test((one.of(risk) for one in losses), delta, EPSILON)
            if (chosen := last_rejected(tests)) is not None:
                set_threshold(model, thresholds[chosen])
                found = compare_generation(
                    model, windows[:: len(windows) // 4][:4, :32], tokens=64, clock=time.process_time
                )
                generated.append(
                    {"rule": rule.name(), "risk": risk, "delta": delta, "threshold": thresholds[chosen]}
                    | {"consistency": found.consistency, "layers": found.layers, "speed_up": found.speed_up}
                )
                print(generated[-1], flush=True)
    made = {"windows": len(windows), "splits": splits, "generated": generated}
    (Path(__file__).parent / "exits.json").write_text(json.dumps(made, indent=1) + "\n")


def with_rule(folder: Path, rule: ExitRule) -> CausalLM:
    """Return the trained model with a rule."""
    model = CausalLM.from_pretrained(folder)
    part = model.config.computation.swap(rule=rule)
    changed = convert_weights(model, model.config.swap(computation=part), strict=True).model
    assert isinstance(changed, CausalLM)
    return changed.eval()


def in_splits(losses: list[ExitLosses], risk: Any, delta: float) -> dict[str, Any]:
    """Return how calibration on one half of the windows fares on the other, over many splits."""
    all_losses = torch.stack([one.of(risk) for one in losses])
    all_layers = torch.stack([one.layers_n for one in losses])
    generator = torch.Generator().manual_seed(0)
    found = [one_split(all_losses, all_layers, delta, generator) for _ in range(SPLITS)]
    chosen = [split for split in found if split is not None]
    risks, layers = torch.tensor(chosen or [(float("nan"), float("nan"))], dtype=torch.float64).unbind(1)
    return {
        "risk": risk,
        "delta": delta,
        "calibrated": len(chosen) / SPLITS,
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
