"""Tasks that misbehave, each run through the real lab: a wrong result is a row, or an error before anything trains,
that names the file and the line; a harmless one is converted, and every other arm goes on."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from textwrap import dedent, indent

import pytest

from formers.lab import Arm, Budget, Results, Store, Study, run
from formers.tasks import parse
from formers.tasks.checks.task_error import TaskError

RIGHT = """
import random
import sys
from functools import partial

import numpy as np
import torch

from formers.tasks import Evaluation, Task, TaskMetric
from formers.tasks.task import Generated


class Right(Task):
    length: int = 6
    description = "Is the number of ones odd?"
    metric = TaskMetric(name="accuracy", label="accuracy", lower_is_better=False)
    head = "SequenceClassifier"
    arms = ("identity: mixer=identity", "pool: mixer=pool")
    budget = {"steps": 2, "batch_size": 4, "evaluations": 1}

    def base(self):
        from formers.models import TransformerConfig

        sizes = dict(vocab_size=2, num_labels=2, width=8, depth=1, heads=1, context_length=self.length)
        return TransformerConfig(position="learned", **sizes)

    def build(self, seed, count):
        return Generated(self.example, f"right/{seed}", count)

    def example(self, stream):
        bits = stream.choices((0, 1), k=self.length)
        return {"input_ids": torch.tensor(bits), "labels": torch.tensor(sum(bits) % 2)}

    def evaluate(self, model, split="validation"):
        return Evaluation(metrics={"accuracy": 0.5})

    data_hash = "0"


class Wrong(Right):
"""

ROW_OF_EACH = {
    "a text": ("evaluate", 'return Evaluation(metrics={"accuracy": "0.5"})', "metrics .'accuracy'. must be a number"),
    "bytes": ("evaluate", 'return Evaluation(metrics={"accuracy": b"0.5"})', "must be a number, not b'0.5'"),
    "a whole array": ("evaluate", 'return Evaluation(metrics={"accuracy": np.ones(3)})', r"ndarray of shape \(3,\)"),
    "a tensor of one": ("evaluate", 'return Evaluation(metrics={"accuracy": torch.ones(1)})', r"shape \(1,\)"),
    "None": ("evaluate", 'return Evaluation(metrics={"accuracy": None})', "must be a number, not None"),
    "a complex number": ("evaluate", 'return Evaluation(metrics={"accuracy": 1j})', "must be a number, not 1j"),
    "another metric": ("evaluate", 'return Evaluation(metrics={"f1": 0.5})', "without the ranking one, accuracy"),
    "the lab's metric": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": 0.5, "train_loss": 0.5})',
        "is the lab's own",
    ),
    "a name with a sign": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": 0.5, "top 5 (%)": 0.5})',
        r"'top 5 \(%\)', is not made of letters",
    ),
    "no mapping": ("evaluate", "return Evaluation(metrics=[0.5])", r"metrics must be a mapping"),
    "no evaluation": ("evaluate", 'return {"accuracy": 0.5}', "an Evaluation.*was expected"),
    "nothing": ("evaluate", "pass", "returned None for validation"),
    "slices of texts": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": 0.5}, slices={"ones": {"1": "half"}})',
        "slices .'1'. must be a number, not 'half'",
    ),
    "flat slices": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": 0.5}, slices={"ones": 0.5})',
        "slices must be a mapping",
    ),
    "items in rows": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": 0.5}, items=torch.ones(2, 2))',
        "items must be a flat list",
    ),
    "a slip": ("evaluate", 'return {}["accuracy"]', "raised KeyError: 'accuracy'"),
    "an exit": ("evaluate", 'sys.exit("enough")', "raised SystemExit: enough"),
    "NaN everywhere": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": float("nan")})',
        "on the validation split, and so it does on a model that has not been trained",
    ),
    "NaN on the test split": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": float("nan") if split == "test" else 0.5})',
        "nan on the test split, of a model whose metrics on the validation split are finite",
    ),
    "wrong on the test split": (
        "evaluate",
        'return Evaluation(metrics={"accuracy": "x" if split == "test" else 0.5})',
        "wrong values for test",
    ),
    "samples of numbers": ("samples", "return [1, 2]", "returned 1 .int., but texts were expected"),
    "no samples": ("samples", "pass", "returned None, but texts were expected"),
    "pictures of bytes": ("pictures", 'return [b"GIF89a"]', "returned b'GIF89a'.*, but Pictures were expected"),
    "no pictures": ("pictures", "pass", "returned None, but Pictures were expected"),
    "samples that fail": ("samples", "1 / 0", "raised ZeroDivisionError: division by zero"),
    "a save that fails": ("save", 'raise OSError("no such thing")', "raised OSError: no such thing"),
    "a later example of another length": (
        "build",
        'return [{"input_ids": [0] * (6 + (i == 6)), "labels": 0} for i in range(count)]',
        "pad or cut them to one length",
    ),
}
"""What is wrong → the method, its code, and the cause in the row of every arm."""

REFUSED = {
    "references that fail": ("references", "1 / 0", "raised ZeroDivisionError"),
    "no references": ("references", "pass", "must be a mapping of names to numbers, not None"),
    "references of texts": ("references", 'return {"chance": "half"}', "'chance'. must be a number"),
    "NaN as a reference": ("references", 'return {"chance": float("nan")}', "returned nan for 'chance'"),
    "an exit in references": ("references", "sys.exit(1)", "raised SystemExit: 1"),
    "no data": ("build", "return []", r"returned 0 examples, but 8 were asked for"),
    "too little data": ("build", "return [0] * 7", "returned 7 examples, but 8 were asked for"),
    "a stream": ("build", "return iter([])", "a data set with a length and numbered examples"),
    "None as data": ("build", "pass", "returned None"),
    "other data each time": (
        "example",
        "return Right.example(self, random)",
        "arms would not see the same data",
    ),
    "an exit in the data": ("example", "sys.exit(3)", "raised SystemExit: 3"),
    "a pair": ("example", "return torch.zeros(6).long(), 1", "a mapping of the model's inputs to tensors was expected"),
    "an empty example": ("example", "return {}", "is {}"),
    "texts": ("example", 'return {"input_ids": "010101", "labels": 1}', "has input_ids '010101'"),
    "NaN in the data": ("example", 'return {"input_ids": [0] * 6, "labels": float("nan")}', "has NaN in labels"),
    "an input too many": ("example", 'return {**Right.example(self, stream), "weight": 1.0}', "have weight, which"),
    "no labels": ("example", 'return {"input_ids": [0] * 6}', "have no labels"),
    "an unknown token": ("example", 'return {"input_ids": [7] * 6, "labels": 1}', "input_ids 7, but the model has 2"),
    "an unknown class": ("example", 'return {"input_ids": [0] * 6, "labels": -1}', "labels -1, but the model has 2"),
    "a batch": ("example", 'return {"input_ids": [[0] * 6], "labels": 1}', r"input_ids Tensor of shape \(1, 6\)"),
    "floats": ("example", 'return {"input_ids": [0.0] * 6, "labels": 1}', "integers .L,., were expected"),
    "no configuration": ("base", 'return {"width": 8}', "a TransformerConfig was expected"),
    "no model": ("model", "return None", "a model of formers.models was expected"),
    "a hash of bytes": ("data_hash", "@property", 'return b"0"', "is b'0', but a text was expected"),
    "another hash each time": ("data_hash", "@property", "return str(random.random())", "is another one each time"),
}
"""What concerns every arm → the method, its code, and the error before anything trains."""

DECLARED = {
    'metric = "accuracy"': "metric must be a TaskMetric",
    'metric = TaskMetric(name="top (%)", label="top")': "its name of letters",
    'arms = "softmax: mixer=softmax"': "arms must be a tuple of texts",
    "budget = 3": "budget must be a mapping",
    "description = None": "description must be",
    'head = "Parrot"': "is 'Parrot', which is no class in formers.models",
    "length: int = 0": "at least 1",
}
ARGUMENTS = {
    "evaluate": 'model, split="validation"',
    "samples": "model",
    "pictures": "model",
    "save": "folder",
    "example": "stream",
}
ARGUMENTS |= {"build": "seed, count", "model": "config"}


def file_of(folder: Path, method: str, *code: str) -> Path:
    decorators, body = code[:-1], code[-1]
    arguments = ", ".join(["self", *([ARGUMENTS[method]] if method in ARGUMENTS else [])])
    lines = [*decorators, f"def {method}({arguments}):", indent(body, "    ")]
    path = folder / "mine.py"
    path.write_text(RIGHT + indent("\n".join(lines), "    ") + "\n", encoding="utf-8")
    return path


@pytest.fixture
def place(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "study").mkdir()
    shutil.copy(empty_database, tmp_path / "study" / "mlflow.db")
    return tmp_path


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("database")
    Store(folder, "unused")
    return folder / "mlflow.db"


def run_wrong(place: Path, file: Path) -> Results:
    return run(Study(task=f"{file}:wrong", folder=place / "study"))  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ROW_OF_EACH)
def test_a_wrong_result_is_a_row(place: Path, case: str) -> None:
    method, code, cause = ROW_OF_EACH[case]
    file = file_of(place, method, code)
    results = run_wrong(place, file)
    assert [row.status for row in results.rows] == ["failed", "failed"]
    for row in results.rows:
        assert re.search(cause, row.cause), row.cause
        assert re.search(rf"Wrong\.\w+.* \({re.escape(str(file))}, line \d+\)", row.cause), row.cause
        assert bool(row.metrics) == (method in ("samples", "pictures", "save"))
    models = list((place / "study").glob("models/[!.]*/model.safetensors"))
    assert len(models) == (2 if method in ("samples", "pictures") else 0)  # what was trained is kept
    assert json.loads((place / "study" / "report.json").read_text())["rows"]


@pytest.mark.parametrize("case", REFUSED)
def test_what_concerns_every_arm_is_found_before_any_trains(place: Path, case: str) -> None:
    method, *code, error = REFUSED[case]
    file = file_of(place, method, *code)
    with pytest.raises(TaskError, match=error) as caught:
        run_wrong(place, file)
    assert re.search(rf"Wrong\.\w+.* \({re.escape(str(file))}, line \d+\)", str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (place / "study" / "study.yaml").exists()


@pytest.mark.parametrize("declared", DECLARED)
def test_a_wrong_declaration_names_the_class(place: Path, declared: str) -> None:
    path = place / "mine.py"
    path.write_text(f"{RIGHT}    {declared}\n", encoding="utf-8")
    with pytest.raises(TaskError, match=DECLARED[declared]) as caught:
        run_wrong(place, path)
    assert re.search(rf"{re.escape(str(path))}, line \d+", str(caught.value))


def test_what_is_missing_is_listed(place: Path) -> None:
    path = place / "mine.py"
    path.write_text("from formers.tasks import Task\n\nclass Wrong(Task):\n    pass\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"mine\.py, line 3\) does not define base, build, evaluate, data_hash, desc"):
        run_wrong(place, path)


HARMLESS = {
    "evaluate": """
        torch.rand(3), np.random.rand(3), random.random()
        torch.set_grad_enabled(False)
        return Evaluation(
            metrics={"accuracy": np.float32(0.5), "loss": torch.tensor(1), "right": np.bool_(True), "n": np.int64(3)},
            slices={"ones": {1: torch.tensor(0.5), 2.5: np.float16(0.5)}},
            items=torch.tensor([0.0, 1.0]),
        )
    """,
    "samples": 'return ["a", "\\ud800"]',
    "references": 'return {"chance": np.float32(0.5), 2: torch.tensor(0.25)}',
    "example": 'return {"input_ids": np.array([0, 1] * 3), "label": 1, "attention_mask": [1] * 6}',
    "build": "return [{'input_ids': [0, 1] * 3, 'labels': np.int64(1)}] * (count + 5)",
}


@pytest.mark.parametrize("method", HARMLESS)
def test_what_is_harmless_is_converted(place: Path, method: str) -> None:
    results = run_wrong(place, file_of(place, method, dedent(HARMLESS[method])))
    assert [row.status for row in results.rows] == ["finished", "finished"], [row.cause for row in results.rows]
    assert run_wrong(place, place / "mine.py") == results  # from the store, where it is JSON
    [row, _] = results.rows
    if method == "evaluate":
        assert row.metrics == {"accuracy": 0.5, "loss": 1.0, "right": 1.0, "n": 3.0}
        assert row.slices == {"ones": {"1": 0.5, "2.5": 0.5}}
        assert row.items == (0.0, 1.0)
    if method == "samples":
        assert row.samples == ("a", "\\ud800")
    if method == "references":
        assert results.references == {"chance": 0.5, "2": 0.25}


def test_random_numbers_in_an_evaluation_change_no_training(place: Path) -> None:
    def losses(name: str) -> list[dict[str, float]]:
        task = f"{place / 'mine.py'}:{name}"
        study = Study(
            task=task,  # type: ignore[arg-type]
            arms=(Arm("identity", {"mixer": "identity", "dropout": 0.5}),),
            budget=Budget(steps=4, batch_size=4, evaluations=2),
            folder=place / name,
        )
        return [point.values for point in run(study).rows[0].curve]

    file_of(place, "evaluate", 'torch.rand(9); return Evaluation(metrics={"accuracy": 0.5})')
    assert losses("wrong") == losses("right")


def test_an_arm_that_fails_alone_stops_no_other(place: Path) -> None:
    code = 'return Evaluation(metrics={"accuracy": 0.5 if model.config.mixer.name() == "pool" else "half"})'
    results = run_wrong(place, file_of(place, "evaluate", code))
    assert {row.arm: row.status for row in results.rows} == {"identity": "failed", "pool": "finished"}


def test_a_task_mended_in_its_file_is_trained(place: Path) -> None:
    assert run_wrong(place, file_of(place, "evaluate", "pass")).rows[0].status == "failed"
    file_of(place, "samples", 'return ("right",)')
    assert [row.status for row in run_wrong(place, place / "mine.py").rows] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("x = 1\nclass A(:\n", r"line 2: SyntaxError: invalid syntax"),
        ("import nowhere_to_be_found\n", r"line 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("from formers.tasks import Nothing\n", r"line 1: \w*Error: .*Nothing"),
        ("x = 1\n\n1 / 0\n", r"line 3: ZeroDivisionError"),
        ("import sys\nsys.exit(2)\n", r"line 2: SystemExit: 2"),
        ("x = '\0'\n", r"mine.py.*null"),
        ("if x:\n  y\n z\n", r"line 3: IndentationError"),
    ],
)
def test_a_file_that_does_not_run_names_its_line(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(content, encoding="utf-8")
    for _ in range(2):
        with pytest.raises(ValueError, match=error) as caught:
            parse(str(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
