"""An arm that is called otherwise from now on has the model and the checkpoint that it had."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from formers.cli.app import app
from formers.lab import Arm, Stopped, Study, run
from formers.lab.plan.jobs import plan_jobs
from formers.lab.train.former_name import known_folder
from formers.lab.train.job import Job
from formers.lab.train.progress import Silent


class Hears(Silent):
    """Keeps the notes, and presses Ctrl-C at a step."""

    def __init__(self, stop_at: int = -1) -> None:
        self.at, self.notes, self.first = stop_at, list[str](), 0

    def step(self, label: str, done: int) -> None:
        self.first = self.first or done
        if done == self.at:
            signal.raise_signal(signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


def renamed(study: Study, name: str = "other") -> Study:
    return replace(study, arms=(replace(study.arms[0], name=name), *study.arms[1:]))


def test_a_stopped_arm_goes_on_under_another_name(one_arm: Study) -> None:
    with pytest.raises(Stopped):
        run(one_arm, Hears(stop_at=3))
    [row] = run(renamed(one_arm), progress := Hears()).rows
    assert progress.first == 4
    assert (row.arm, row.steps) == ("other", 8)
    assert not any((one_arm.folder / "checkpoints").iterdir())


def test_a_trained_model_is_found_under_another_name(one_arm: Study) -> None:
    [before] = run(one_arm).rows
    asked = replace(renamed(one_arm), eval_lengths="16,")
    [job] = plan_jobs(asked)
    assert isinstance(job, Job)
    assert job.slug.startswith("other-")
    assert load_file(job.model_folder / "model.safetensors")
    [row] = run(asked, progress := Hears()).rows
    assert any("trained before; testing at 16" in note for note in progress.notes)
    assert progress.first == 0
    assert row.metrics == before.metrics


def test_the_same_model_spelled_otherwise_is_where_train_says(one_arm: Study) -> None:
    def train(*words: str) -> tuple[str, Path]:
        budget = ["--steps", "1", "--batch", "2", "--folder", str(one_arm.folder)]
        done = CliRunner().invoke(app, ["train", str(one_arm.task), *words, *budget])
        assert done.exit_code == 0, done.output
        return done.output, Path(done.output.splitlines()[-1].removeprefix("model: "))

    _, first = train("mixer=identity", "width=16", "heads=2", "depth=1")
    said, second = train("mixer=identity", "--width", "16", "--heads", "2", "--depth", "1")
    assert "1 steps" not in said
    assert second == first
    assert (second / "model.safetensors").is_file()


def test_arms_that_differ_in_their_names_alone_keep_their_checkpoints_apart(one_arm: Study) -> None:
    study = replace(one_arm, arms=(Arm("a", {"mixer": "softmax"}), Arm("b", {"mixer": "softmax"})))
    with pytest.raises(Stopped):
        run(study, Hears(stop_at=3))
    [kept] = (study.folder / "checkpoints").iterdir()
    with pytest.raises(Stopped):
        run(study, Hears(stop_at=5))
    assert [*(study.folder / "checkpoints").iterdir()] == [kept]
    assert kept.name.startswith("a-")


def test_another_seed_or_model_is_no_former_name(tmp_path: Path) -> None:
    for name in ("a-seed1-aaaaaa", "a-seed11-bbbbbb", ".b-seed1-bbbbbb.part", "seed1-bbbbbb"):
        (tmp_path / name).mkdir()
    own = tmp_path / "b-seed1-bbbbbb"
    assert known_folder(own) == own
    (tmp_path / "c-seed1-bbbbbb").mkdir()
    assert known_folder(own) == tmp_path / "c-seed1-bbbbbb"
    own.mkdir()
    assert known_folder(own) == own
    assert known_folder(tmp_path / "absent" / own.name) == tmp_path / "absent" / own.name
