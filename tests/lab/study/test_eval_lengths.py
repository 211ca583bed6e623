"""Lengths to test at: their texts, what they come to in tokens, and what is refused before anything trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from formers.lab import Arm, Study, read_study, write_study
from formers.lab.plan.jobs import plan_jobs
from formers.lab.study.eval_lengths import parse_eval_lengths
from formers.lab.train.job import Job


@pytest.mark.parametrize(
    ("given", "lengths"),
    [
        ("1x,2x,4x", ("1x", "2x", "4x")),
        (" 1.50 X, 2 ×, 0512, ", ("1.5x", "2x", 512)),
        (["2.0x", 64, "0.5x"], ("2x", 64, "0.5x")),
        ("", ()),
        ((), ()),
    ],
)
def test_lengths_have_one_form(given: Any, lengths: tuple[int | str, ...]) -> None:
    assert parse_eval_lengths(given) == lengths
    assert parse_eval_lengths(lengths) == lengths
    assert parse_eval_lengths(",".join(map(str, lengths))) == lengths


@pytest.mark.parametrize("given", ["x", "0x", "0", "-2x", "2x4", "1e3x", "∞x", [2.0], [True], [None], 3, ["9" * 400]])
def test_what_is_no_length_is_named(given: Any) -> None:
    with pytest.raises(ValueError, match=r"2x"):
        parse_eval_lengths(given)
    with pytest.raises(ValueError, match="there may be 100"):
        parse_eval_lengths(range(1, 102))


def test_multiples_follow_the_tasks_length() -> None:
    study = Study(task="shakespeare(length=64)", eval_lengths=["4x", 96])
    assert study.tested_lengths == (64, 96, 256)
    assert replace(study, task="shakespeare(length=32)").tested_lengths == (32, 96, 128)
    assert replace(study, eval_lengths=()).tested_lengths == ()


@pytest.mark.parametrize(
    ("task", "lengths", "message"),
    [
        (
            "listops",
            "2x",
            "listops is tested at its own length only.*shakespeare, text, mlm, sort, sort_sequence, recall",
        ),
        ("shakespeare(length=64)", "1.3x", "no whole number of tokens"),
        ("shakespeare(length=64)", "2x,128", "2x and 128 are both 128 tokens"),
        ("shakespeare(length=64)", "1", "shakespeare cannot be 1 tokens long.*at least 2"),
        ("shakespeare", "99999x", "at most 1,048,576 tokens"),
        ("recall(length=16, pairs=4)", "8", "an even length of at least 16"),
    ],
)
def test_what_a_task_cannot_be_tested_at_is_refused_at_once(task: str, lengths: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study(task=task, eval_lengths=lengths)


def test_lengths_are_no_part_of_what_identifies_a_study() -> None:
    study = Study(task="sort(length=8)")
    assert study.content_hash == "d705d7f97770807b91cd56b52db4ed141b4340076314296c7af4477085b53253"
    assert "eval_lengths" not in study.to_dict()
    longer = replace(study, eval_lengths="2x")
    assert (longer.content_hash, longer.folder) == (study.content_hash, study.folder)
    softmax = Study(task="shakespeare", arms=[Arm("softmax", {"mixer": "softmax"})])
    for either in (softmax, replace(softmax, eval_lengths="2x")):
        [job] = plan_jobs(either)
        assert isinstance(job, Job)
        assert job.fingerprint == "4a714a8500b3a15ff60ab3217b9f741d95d022f89dae0f98de5e93ef531ccb83"
        assert job.slug == "softmax-seed0-4a714a"


@pytest.mark.parametrize("text", ["[1x, 2x, 512]", "'1x, 2x, 512'", "\n- 1x\n- 2x\n- 512"])
def test_yaml_is_python(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"task: shakespeare\neval_lengths: {text}\nfolder: somewhere\n")
    study = read_study(path)
    assert study == Study(task="shakespeare", eval_lengths=("1x", "2x", 512), folder=Path("somewhere"))
    write_study(study, path)
    assert read_study(path) == study


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eval_length: [2x]", "did you mean 'eval_lengths'"),
        ("eval_lengths: {a: 1}", "not 'a'"),
        ("eval_lengths: 3", "3"),
    ],
)
def test_yaml_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"task: sort\n{text}\n")
    with pytest.raises(ValueError, match=message):
        read_study(path)
