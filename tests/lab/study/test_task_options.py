"""Arms that choose options of the task: what they train on, and how it is read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from formers.lab import Arm, Study, run
from formers.lab.plan.jobs import plan_jobs
from formers.lab.report import render_html
from formers.lab.study.arm import vary
from formers.lab.study.yaml import read_study, write_study
from formers.lab.train.job import Job
from formers.tasks.checks.task_error import TaskError

FILE = '''
import torch

from formers.models import TransformerConfig
from formers.tasks import Evaluation, Task, TaskMetric
from formers.tasks.task import Generated


class OddBits(Task):
    """Is the number of ones odd?"""

    length: int = 6
    "Bits."
    share: float = 0.5
    "Of ones."
    many: int = 4
    "Examples that are told apart."

    description = "Is the number of ones odd?"
    metric = TaskMetric(name="accuracy", label="accuracy", lower_is_better=False)
    head = "SequenceClassifier"
    arms = ("pool: mixer=pool",)
    arm_options = ("length", "share", "many")
    budget = {"steps": 2, "batch_size": 4, "evaluations": 1}

    def base(self):
        return TransformerConfig(
            vocab_size=2, num_labels=2, width=8, depth=1, heads=1, position="learned", context_length=self.length
        )

    def build(self, seed, count):
        return Generated(self.example, f"bits/{seed}", count)

    def example(self, stream):
        bits = [int(stream.random() < self.share) for _ in range(self.length)]
        return {"input_ids": torch.tensor(bits), "labels": torch.tensor(sum(bits) % 2)}

    def evaluate(self, model, split="validation"):
        return Evaluation(metrics={"accuracy": self.share})

    @property
    def data_hash(self):
        return f"bits of {self.many}"
'''


@pytest.fixture
def task(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A task whose arms may differ in some of its options, and an empty store for studies of it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "study").mkdir()
    shutil.copy(empty_database, tmp_path / "study" / "mlflow.db")
    (tmp_path / "odd.py").write_text(FILE)
    return str(tmp_path / "odd.py")


def study(task: str, tmp_path: Path, *arms: str, **options: Any) -> Study:
    return Study(task=task, arms=[Arm.parse(arm) for arm in arms], folder=tmp_path / "study", **options)  # type: ignore[arg-type]


ARMS = ("base: mixer=pool", "rare: mixer=pool, task.share=0.1", "long: mixer=pool, task.length=9, task.share=0.25")


def test_arms_train_and_are_measured_with_their_options(task: str, tmp_path: Path) -> None:
    results = run(study(task, tmp_path, *ARMS))
    assert [row.status for row in results.rows] == ["finished"] * 3
    assert [row.metrics["accuracy"] for row in results.rows] == [0.5, 0.1, 0.25]
    assert [row.config["context_length"] for row in results.rows] == [6, 6, 9]
    assert [row.choices["task.share"] for row in results.rows] == ["0.5", "0.1", "0.25"]
    assert [row.choices["task.length"] for row in results.rows] == ["6", "6", "9"]
    assert len({row.fingerprint for row in results.rows}) == 3
    assert len({row.data_hash for row in results.rows}) == 1
    assert "task.share=0.1" in results.rows[1].command
    assert "task.share" in render_html(results)


def test_an_arm_without_options_of_the_task_is_the_run_that_it_was(task: str, tmp_path: Path) -> None:
    alone, beside = (study(task, tmp_path, *arms) for arms in (ARMS[:1], ARMS))
    [first], (same, *_) = plan_jobs(alone), plan_jobs(beside)
    assert isinstance(first, Job)
    assert isinstance(same, Job)
    assert first.fingerprint == same.fingerprint


def test_arms_read_back_from_text_and_from_files(task: str, tmp_path: Path) -> None:
    made = study(task, tmp_path, *ARMS)
    assert [Arm.parse(arm.text) for arm in made.arms] == list(made.arms)
    write_study(made, tmp_path / "again.yaml")
    assert read_study(tmp_path / "again.yaml").arms == made.arms
    (tmp_path / "vary.yaml").write_text(f"task: '{task}'\nvary:\n  task.share: [0.5, 0.1]\n  mixer: [pool]\n")
    arms = read_study(tmp_path / "vary.yaml").arms
    assert [arm.task_swaps for arm in arms] == [{"share": 0.5}, {"share": 0.1}]
    assert arms == vary(**{"task.share": ["0.5", "0.1"], "mixer": ["pool"]})


def test_parameters_are_matched_at_each_arms_own_task(task: str, tmp_path: Path) -> None:
    rows = run(study(task, tmp_path, *ARMS, match="flops")).rows
    assert rows[0].flops_per_token == pytest.approx(rows[2].flops_per_token, rel=0.02)


WRONG = {
    "unknown": ("a: task.shares=0.1", {}, "has no option of the task 'shares'; did you mean 'share'"),
    "value": ("a: task.share=often", {}, "share must be finite float"),
    "time": ("a: task.share=0.1", {"match": "time"}, "times steps on the same examples"),
    "base": ("a: mixer=pool", {"base": {"task.share": 0.1}}, "write it there"),
}


@pytest.mark.parametrize(("arm", "options", "message"), WRONG.values(), ids=WRONG)
def test_options_that_arms_cannot_choose(
    task: str, tmp_path: Path, arm: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        study(task, tmp_path, arm, **options)


def test_tasks_without_such_options(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no option of the task 'length'; it has none"):
        study("sort", tmp_path, "a: task.length=4")


def test_options_that_change_the_data_are_the_tasks_fault(task: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"is another one for .*many=5"):
        run(study(task, tmp_path, "a: mixer=pool", "b: mixer=pool, task.many=5"))
