"""The worked example of docs/tasks.md is a real task: it runs from its file, is resumed, and reaches other
processes."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from formers.lab import Arm, Budget, Study, read_study
from formers.lab.plan.jobs import plan_jobs
from formers.lab.run_study import run
from formers.tasks import parse

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = re.search(r"<!-- example:.*?-->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found
    path = tmp_path / "parity.py"
    path.write_text(found[1], encoding="utf-8")
    return path


def test_a_file_is_a_task(file: Path) -> None:
    task = parse(str(file))
    assert task.length == 12
    assert parse(f"{file}:parity(length=8)") == task.swap(length=8)
    assert parse(str(task)) == task
    assert str(task) == f"{file}:parity()"
    assert task.build(0, 9)[3]["input_ids"].equal(task.build(0, 4)[3]["input_ids"])


def test_a_study_of_it_runs_and_is_resumed_from_its_yaml(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "study"
    study = Study(
        task=str(file), arms=(Arm("none", {"mixer": "identity"}),), budget=Budget(steps=2, batch_size=4), folder=place
    )  # type: ignore[arg-type]
    rows = run(study).rows
    assert [row.status for row in rows] == ["finished"], [row.cause for row in rows]
    again = read_study(place / "study.yaml")
    assert again.task == study.task
    assert [row.train_seconds for row in run(again).rows] == [row.train_seconds for row in rows]
    assert f"{file}:parity" in rows[0].command


def test_an_annotation_that_is_no_type_is_an_error_of_the_file(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "length: int = 12" in text
    file.write_text(text.replace("length: int = 12", 'length: "How long." = 12'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"parity\.py: TypeError: option length of Parity is annotated with 'How long"):
        parse(str(file))


def test_an_edited_file_is_another_task(file: Path) -> None:
    def fingerprint() -> str:
        [job] = plan_jobs(Study(task=str(file), arms=(Arm("none", {"mixer": "identity"}),)))  # type: ignore[arg-type]
        return job.fingerprint

    before = fingerprint()
    assert fingerprint() == before
    file.write_text(file.read_text(encoding="utf-8") + "\nimport bits_of_parity\n", encoding="utf-8")
    bits = file.with_name("bits_of_parity.py")
    bits.write_text("BITS = 2", encoding="utf-8")
    changed = fingerprint()
    assert changed != before
    bits.write_text("BITS = 20", encoding="utf-8")
    assert fingerprint() not in (before, changed)


def test_another_process_gets_it(file: Path, tmp_path: Path, python: Any) -> None:
    task = parse(f"{file}:parity(length=8)")
    (tmp_path / "task.bin").write_bytes(pickle.dumps(task))
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'task.bin')!r}, 'rb')))"
    done = python.run("-c", code)
    assert done.out.strip() == str(task), done.err


def test_evaluation_leaves_the_random_state_alone(file: Path) -> None:
    task = parse(str(file))
    model = task.model(task.base())
    state = torch.get_rng_state()
    assert task.evaluate(model) == task.evaluate(model)
    assert torch.get_rng_state().equal(state)


def test_files_that_will_not_do(file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no task file at"):
        parse("nowhere.py")
    with pytest.raises(ValueError, match="did you mean 'parity'"):
        parse(f"{file}:party")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="defines no task"):
        parse(str(tmp_path / "empty.py"))
