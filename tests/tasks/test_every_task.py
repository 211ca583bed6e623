"""Results of every task are such as the lab takes, by the check that a study makes of a task of one's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from formers.lab import Arm, Study
from formers.tasks import TASKS, parse
from formers.tasks.checks.checked_task import CheckedTask

EXAMPLES = {
    "shakespeare": "shakespeare(length=64)",
    "text": "text(length=64)",
    "mlm": "mlm(length=64)",
    "sort": "sort(length=8)",
    "sort_sequence": "sort_sequence(length=8)",
    "recall": "recall(length=16, pairs=4)",
    "listops": "listops(length=32)",
    "classify": "classify(path='{opinions}', length=32)",
    "reviews": "reviews(path='{opinions}', length=32)",
    "glue": "glue(task=rte, length=32)",
    "control": "control",
    "tmaze": "tmaze(length=4, corridor=8)",
    "needle": "needle(length=32, keys=1)",
}
"""Name → one task of its kind; mnist's is in mnist/test_task.py. `opinions` stands for a table of 120 short texts."""


def test_no_task_is_missing() -> None:
    assert sorted([*EXAMPLES, "mnist"]) == sorted(kind.name() for kind in TASKS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_lab_takes_its_results(name: str, real: Path, opinions: list[tuple[str, str]], tmp_path: Path) -> None:
    with (tmp_path / "opinions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *opinions])
    study = Study(task=parse(EXAMPLES[name].replace("{opinions}", str(tmp_path / "opinions.csv"))))
    torch.manual_seed(0)
    model = study.task.model(study.config(Arm("small", {"depth": 1, "width": 16, "heads": 1}))).eval()
    task = CheckedTask(study.task)
    for split in ("validation", "test"):
        assert study.task.metric.name in task.evaluate(model, split).metrics
    task.samples(model)
