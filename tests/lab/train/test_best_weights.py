from __future__ import annotations

from pathlib import Path

import pytest
import torch

from formers.lab.train.best_weights import BestWeights
from formers.models import CausalLM, TransformerConfig
from formers.tasks import TaskMetric

LOSS = TaskMetric(name="loss", label="loss")
ACCURACY = TaskMetric(name="accuracy", label="accuracy", lower_is_better=False)


def model(value: float) -> CausalLM:
    """A model, tied embedding and all, whose every weight is `value`."""
    made = CausalLM(TransformerConfig(vocab_size=8, width=8, depth=1, heads=2))
    for weight in made.parameters():
        torch.nn.init.constant_(weight, value)
    return made


def chosen(folder: Path, metric: TaskMetric, offers: list[tuple[int, float]]) -> int:
    best, found = BestWeights(folder, metric), model(-1.0)
    for step, value in offers:
        best.offer(model(float(step)), step, value)
    step = BestWeights(folder, metric).restore(found)
    assert all((weight == step).all() for weight in found.parameters())
    return step


@pytest.mark.parametrize(
    ("metric", "offers", "step"),
    [
        (LOSS, [(1, 3.0), (2, 1.0), (3, 2.0)], 2),
        (ACCURACY, [(1, 0.3), (2, 0.1), (3, 0.2)], 1),
        (LOSS, [(1, 2.0), (2, 2.0)], 1),
        (LOSS, [(2, 2.0), (1, 2.0), (2, 2.0)], 1),  # resumed from before the best step
    ],
)
def test_the_best_weights_are_kept(
    tmp_path: Path, metric: TaskMetric, offers: list[tuple[int, float]], step: int
) -> None:
    assert chosen(tmp_path, metric, offers) == step
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_nothing_kept(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no evaluation"):
        BestWeights(tmp_path, LOSS).restore(model(0.0))
