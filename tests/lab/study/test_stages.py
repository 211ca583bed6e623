"""Stages of a training: their lengths, windows, rates and steps, and what cannot be halved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from formers.lab import Arm, Budget, Study, read_study, write_study
from formers.lab.plan.jobs import plan_jobs
from formers.lab.study.command_line import study_command
from formers.lab.study.stages import narrowed, stages_of
from formers.lab.train.job import Job
from formers.lab.train.stages import stage_jobs
from formers.mixers import Longformer, Mixer, SlidingDense, Softmax, Sparse
from formers.patterns import Global, Window

BUDGET = Budget(steps=100, batch_size=2, learning_rate=8e-3, evaluations=6, stages=3)


def study(**changes: Any) -> Study:
    arm = Arm("long", {"mixer": "longformer(window=[8,16], tokens=[])"})
    given: dict[str, Any] = {"task": "shakespeare(length=64)", "arms": (arm,), "budget": BUDGET, "folder": Path("here")}
    return Study(**{**given, **changes})


def test_each_stage_is_twice_as_long_and_wide_at_half_the_rate() -> None:
    made = study()
    [job] = plan_jobs(made)
    assert isinstance(job, Job)
    jobs = stage_jobs(job)
    assert [one.length for one in jobs] == [16, 32, 64]
    assert [one.config.context_length for one in jobs] == [16, 32, 64]
    assert [one.config.mixer.window for one in jobs] == [(2, 4), (4, 8), (8, 16)]
    assert [one.budget.learning_rate for one in jobs] == [8e-3, 4e-3, 2e-3]
    assert [one.budget.batch_size for one in jobs] == [8, 4, 2]
    assert [one.budget.steps for one in jobs] == [33, 33, 34]
    assert [one.steps_before for one in jobs] == [0, 33, 66]
    assert [one.examples_before for one in jobs] == [0, 33 * 8, 33 * 8 + 33 * 4]
    assert jobs[-1].config.to_dict() == job.config.to_dict()
    assert len({one.checkpoint_folder for one in jobs} | {job.checkpoint_folder}) == 4
    assert {one.budget.stages for one in jobs} == {1}


def test_without_stages_nothing_changes() -> None:
    [plain] = plan_jobs(study(budget=Budget(steps=100)))
    assert isinstance(plain, Job)
    assert stage_jobs(plain) == [plain]
    assert "stages" not in repr(plain.budget)
    assert "stages" not in plain.empty_row().budget
    assert "--stages" not in study_command(study(budget=Budget(steps=100)))
    [staged] = plan_jobs(study())
    assert isinstance(staged, Job)
    assert staged.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("mixer", "want"),
    [
        (Softmax(), Softmax()),
        (SlidingDense(window=8), SlidingDense(window=2)),
        (Sparse(pattern=Window(16) | Global(0)), Sparse(pattern=Window(4) | Global(0))),
        (Sparse(per_head=(Window(8), Window(16))), Sparse(per_head=(Window(2), Window(4)))),
        ((Longformer(window=(4,)), Softmax()), (Longformer(window=(1,)), Softmax())),
    ],
    ids=str,
)
def test_windows_are_narrowed_wherever_they_are(mixer: Mixer, want: Mixer) -> None:
    assert narrowed(mixer, 4) == want


def test_what_cannot_be_halved_is_refused_before_anything_trains() -> None:
    for wrong, message in (
        ({"task": "shakespeare(length=66)"}, "length is 66, but stages halve it to the 4th part"),
        ({"arms": (Arm("odd", {"mixer": "longformer(window=[6])"}),)}, r"arm 'odd'.*window is 6"),
    ):
        with pytest.raises(ValueError, match=message):
            plan_jobs(study(**wrong))
    with pytest.raises(ValueError, match="steps of one length"):
        study(match="time")
    with pytest.raises(ValueError, match="2 steps cannot have 3 stages"):
        Budget(steps=2, stages=3)
    with pytest.raises(ValueError, match="stages must be positive"):
        Budget(stages=0)


def test_stages_are_written_and_read(tmp_path: Path) -> None:
    made = study(folder=tmp_path)
    write_study(made, tmp_path / "study.yaml")
    assert read_study(tmp_path / "study.yaml").budget == BUDGET
    assert "--stages 3" in study_command(made)
    assert made.budget.describe(64).endswith("in 3 stages")
    assert len(stages_of(made, made.arms[0], made.config(made.arms[0]), made.budget)) == 3
