"""Trained models at other lengths, through the real lab: results, what cannot be taken, and going on after a stop."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer

from formers.lab import Arm, Compute, LengthResult, Results, Row, Stopped, Study, run
from formers.lab.distributed import ranks
from formers.lab.executors.processes import Processes
from formers.lab.plan.jobs import plan_jobs
from formers.lab.report.stored_results import stored_results
from formers.lab.train.crash_counter import FILE
from formers.lab.train.job import Job
from formers.lab.train.other_lengths import row_of_lost_process
from formers.lab.train.progress import Silent
from formers.lab.train.trained_model import load_trained
from formers.machine.sealed_json import sealed
from formers.mixers.identity import IdentityMixer
from formers.models import CausalLM
from formers.tasks.checks.task_error import TaskError
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.shakespeare import Shakespeare


class Heard(Silent):
    """What a study told; `stop_at` a test, somebody presses Ctrl-C."""

    def __init__(self, stop_at: str = "") -> None:
        self.stop_at, self.tested, self.notes = stop_at, list[str](), list[str]()

    def measured(self, label: str, done: int, values: dict[str, float]) -> None:
        tested = [f"{label}: {name}" for name in values if name.startswith("test ")]
        self.tested += tested
        if self.stop_at and self.stop_at in tested:
            signal.raise_signal(signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def positions(small: Study) -> Study:
    """Three arms by their position, tested at one, two and four times the trained length of 16."""
    arms = tuple(Arm(name, {"position": name}) for name in ("alibi", "learned", "sinusoidal"))
    return replace(small, arms=arms, eval_lengths="1x,2x,64")


def metrics(row: Row) -> list[dict[str, float]]:
    return [result.metrics for result in row.lengths]


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*given: object, **options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "train", train)


def test_each_length_has_a_result_or_a_reason(positions: Study) -> None:
    results = run(positions)
    assert {row.status for row in results.rows} == {"finished"}
    alibi, learned, sinusoidal = results.rows
    for row in (alibi, sinusoidal):
        assert [(result.length, result.times) for result in row.lengths] == [(16, 1.0), (32, 2.0), (64, 4.0)]
        assert metrics(row)[0] == row.metrics
        assert len({values["loss"] for values in metrics(row)}) == 3
        assert not any(result.cannot for result in row.lengths)
    assert metrics(learned) == [learned.metrics, {}, {}]
    assert "learned() knows 16 positions" in learned.lengths[1].cannot
    assert results.at_other_lengths == Shakespeare.at_other_lengths
    assert "--eval-length 1x,2x,64" in alibi.command
    assert "--eval-length 1x,2x,64" in results.command
    assert stored_results(positions.folder) == results
    page = (positions.folder / "report.html").read_text()
    assert 'id="lengths"' in page
    assert "learned() knows 16 positions" in page


def test_a_length_is_tested_with_the_weights_that_are_kept(positions: Study) -> None:
    [alibi, *_] = run(positions).rows
    [folder] = positions.folder.glob("models/alibi*")
    model = CausalLM.from_pretrained(folder)
    for result in alibi.lengths:
        found = positions.task.at_length(result.length).evaluate(model, "test").metrics
        assert result.metrics == pytest.approx(found, rel=1e-6)


def test_without_lengths_nothing_is_different(small: Study) -> None:
    rows = run(small).rows
    assert [row.lengths for row in rows] == [(), ()]
    assert all("eval-length" not in row.command for row in rows)
    assert 'id="lengths"' not in (small.folder / "report.html").read_text()


def test_a_study_that_was_run_before_is_tested_only(positions: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(replace(positions, folder=positions.folder.with_name("whole")))
    before = run(replace(positions, eval_lengths=()))
    forbid_training(monkeypatch)
    progress = Heard()
    assert [metrics(row)[:2] for row in run(replace(positions, eval_lengths="2x"), progress).rows] == [
        metrics(row)[:2] for row in whole.rows
    ]
    assert any("trained before; testing at 16, 32" in note for note in progress.notes)
    again = run(positions, progress := Heard())
    assert [row.lengths for row in again.rows] == [row.lengths for row in whole.rows]
    assert [replace(row, lengths=(), command="") for row in again.rows] == [
        replace(row, command="") for row in before.rows
    ]
    assert progress.tested == [f"{arm}: test bits_per_character at 64" for arm in ("alibi", "sinusoidal")]
    assert run(positions, progress := Heard()) == again
    assert progress.tested == []
    assert not list(positions.folder.glob("study-*.yaml"))
    assert run(replace(positions, eval_lengths=())).rows == again.rows  # what is known stays known
    assert len(list(positions.folder.glob("study-*.yaml"))) == 1  # and so does what was asked for


def test_a_later_test_is_in_the_precision_of_the_training(one_arm: Study) -> None:
    study = replace(one_arm, compute=Compute(precision="bf16"), arms=(Arm("alibi", {"position": "alibi"}),))
    at_once = run(replace(study, eval_lengths="2x", folder=study.folder.with_name("at-once")))
    run(study)
    later = run(replace(study, eval_lengths="2x"))
    assert metrics(later.rows[0]) == metrics(at_once.rows[0])
    [job] = plan_jobs(study)
    assert isinstance(job, Job)
    [full] = plan_jobs(replace(study, compute=Compute()))
    assert isinstance(full, Job)
    shutil.copytree(job.model_folder, full.model_folder)
    in_fp32 = job.task.at_length(32).evaluate(load_trained(full), "test").metrics
    assert in_fp32 != metrics(later.rows[0])[1], "products in bfloat16 are seen in the result"


def test_a_later_test_is_on_the_device_of_the_study(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    run(one_arm)
    [job] = plan_jobs(replace(one_arm, compute=Compute(device="cpu")))
    assert isinstance(job, Job)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert load_trained(job).device.type == "cpu"


def test_side_by_side_is_the_same(positions: Study) -> None:
    run(replace(positions, arms=positions.arms[:2], eval_lengths=()))
    beside = run(positions, executor=Processes(2))
    assert [row.environment.get("jobs") for row in beside.rows] == [None, None, "2"]  # the first two trained alone
    whole = run(replace(positions, folder=positions.folder.with_name("whole")))
    assert [row.lengths for row in beside.rows] == [row.lengths for row in whole.rows]


@pytest.mark.parametrize(
    "stop_at", ["alibi: test bits_per_character at 32", "sinusoidal: test bits_per_character at 32"]
)
def test_stopped_while_testing_and_gone_on_with(
    positions: Study, monkeypatch: pytest.MonkeyPatch, stop_at: str
) -> None:
    whole = run(replace(positions, folder=positions.folder.with_name("whole")))
    arm, _, _ = stop_at.partition(":")
    with pytest.raises(Stopped, match=rf"{arm!r} is trained, and not yet tested at all lengths\. Go on with"):
        run(positions, Heard(stop_at))
    if arm == "sinusoidal":  # the last one, so that nothing is left to be trained
        forbid_training(monkeypatch)
    again = run(positions, progress := Heard())
    assert progress.tested[0] == f"{arm}: test bits_per_character at 64"  # what was tested is not tested again
    assert [row.lengths for row in again.rows] == [row.lengths for row in whole.rows]
    assert [row.metrics for row in again.rows] == [row.metrics for row in whole.rows]
    assert not list(positions.folder.glob("checkpoints/*"))


def reshape_weights(folder: Path) -> None:
    """Put one row less into each matrix: the names are right, and the shapes are not."""
    path = folder / "model.safetensors"
    weights = {name: value[1:].contiguous() if value.dim() > 1 else value for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "break_model", [shutil.rmtree, lambda folder: (folder / "model.safetensors").write_bytes(b"{"), reshape_weights]
)
def test_where_the_model_is_gone_it_is_trained_again(one_arm: Study, break_model: Callable[..., object]) -> None:
    study = replace(one_arm, base={**one_arm.base, "position": "alibi"})
    before = run(study)
    [folder] = study.folder.glob("models/*")
    break_model(folder)
    again = run(replace(study, eval_lengths="2x"), progress := Heard())
    assert any("its trained model is gone" in note and "trained again" in note for note in progress.notes)
    assert again.rows[0].metrics == before.rows[0].metrics
    assert [result.length for result in again.rows[0].lengths] == [16, 32]
    assert (folder / "model.safetensors").stat().st_size > 1000


def test_weights_of_another_shape_are_named(one_arm: Study) -> None:
    run(one_arm)
    [job] = plan_jobs(one_arm)
    assert isinstance(job, Job)
    reshape_weights(job.model_folder)
    with pytest.raises(ValueError, match=r"not of this model: .*q_proj\.weight has shape \(15, 16\), not \(16, 16\)"):
        load_trained(job)


def test_a_trained_arm_whose_tests_are_lost_stays_finished(one_arm: Study) -> None:
    [before] = run(one_arm).rows
    [job] = plan_jobs(replace(one_arm, eval_lengths="2x,64"))
    assert isinstance(job, Job)
    row = row_of_lost_process(replace(job, trained=before), "its process ended by itself (SIGKILL)")
    assert [result.cannot for result in row.lengths] == ["", *["its process ended by itself (SIGKILL)"] * 2]
    assert replace(row, lengths=(), command="") == replace(before, command="")
    lost = row_of_lost_process(job, "its process ended by itself (SIGKILL)")
    assert (lost.status, lost.lengths) == ("failed", ())
    assert lost.cause == "its process ended by itself (SIGKILL); its last checkpoint is kept"


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_tests_is_followed_by_another(one_arm: Study) -> None:
    study = replace(one_arm, base={**one_arm.base, "position": "none"})
    run(study)

    class Kills(Heard):
        def note(self, text: str) -> None:
            super().note(text)
            if "testing at" in text and len(self.notes) < 3:
                [worker] = multiprocessing.active_children()
                assert worker.pid is not None
                os.kill(worker.pid, signal.SIGKILL)

    study = replace(study, eval_lengths="2x,64")
    results = run(study, progress := Kills(), Processes(1))
    assert len([note for note in progress.notes if "testing at" in note]) == 3
    assert only(results, 32).metrics
    assert only(results, 64).metrics


def test_a_damaged_model_is_a_problem_on_every_rank(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    run(one_arm)
    [job] = plan_jobs(one_arm)
    assert isinstance(job, Job)
    (job.model_folder / "model.safetensors").write_bytes(b"{")
    told = list[object]()

    def broadcast(value: object) -> object:
        """Keep what rank 0 says for the other one."""
        if ranks.is_rank0():
            told.append(value)
        return told[-1]

    monkeypatch.setattr(ranks, "broadcast_from_rank0", broadcast)
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        with pytest.raises(ValueError, match="the weights cannot be read"):
            load_trained(job)


def only(results: Results, length: int) -> LengthResult:
    [row] = results.rows
    assert row.status == "finished"
    return next(result for result in row.lengths if result.length == length)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("out of memory"), "OutOfMemoryError: out of memory"),
        (RuntimeError("shapes cannot\nbe"), "RuntimeError: shapes cannot"),
        (ValueError("32 is too long"), "32 is too long"),
    ],
)
def test_what_a_model_cannot_take_loses_no_arm(
    small: Study, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    forward = IdentityMixer.forward

    def fail(self: IdentityMixer, x_bld: torch.Tensor, *given: object, **options: object) -> object:
        if x_bld.shape[1] > 16:
            raise error
        return forward(self, x_bld, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(IdentityMixer, "forward", fail)
    study = replace(small, base={**small.base, "position": "none"}, arms=small.arms[1:], eval_lengths="2x")
    assert only(run(study), 32) == LengthResult(length=32, times=2.0, cannot=reason)


def test_a_number_that_is_not_finite_is_no_result(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = Shakespeare.evaluate

    def overflowing(self: Shakespeare, model: CausalLM, split: Split = "validation") -> Evaluation:
        found = evaluate(self, model, split)
        return replace(found, metrics={**found.metrics, "loss": float("inf")}) if self.length == 32 else found

    monkeypatch.setattr(Shakespeare, "evaluate", overflowing)
    study = replace(one_arm, base={**one_arm.base, "position": "none"}, eval_lengths="2x")
    assert only(run(study), 32).cannot == "loss is inf"


def break_at_32(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the evaluation raise at a length of 32, outside the model."""
    evaluate = Shakespeare.evaluate

    def broken(self: Shakespeare, model: CausalLM, split: Split = "validation") -> Evaluation:
        if self.length == 32:
            raise error
        return evaluate(self, model, split)

    monkeypatch.setattr(Shakespeare, "evaluate", broken)


@pytest.mark.parametrize(
    "error", [AttributeError("no attribute 'metrics'"), TaskError("Own.evaluate returned 3"), SystemExit("3")]
)
@pytest.mark.parametrize("is_trained_before", [False, True])
def test_a_fault_of_the_task_at_one_length_costs_no_result_and_is_not_laid_to_the_model(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch, error: BaseException, is_trained_before: bool
) -> None:
    study = replace(one_arm, base={**one_arm.base, "position": "none"})
    if is_trained_before:
        run(study)
        forbid_training(monkeypatch)
    break_at_32(monkeypatch, error)
    [row] = run(replace(study, eval_lengths="2x,64")).rows
    assert row.status == "finished"
    assert [result.length for result in row.lengths] == [16, 32, 64]
    assert metrics(row)[0] == row.metrics
    assert str(error) in row.lengths[1].cannot
    assert set(metrics(row)[2]) == set(row.metrics)
    [failure] = study.folder.glob("failures/*.txt")
    assert type(error).__name__ in failure.read_text()
    assert list(study.folder.glob("models/*/model.safetensors"))
    assert run(replace(study, eval_lengths="2x,64")).rows == (row,)


@pytest.mark.parametrize("is_trained_before", [False, True])
def test_a_length_at_which_the_process_dies_each_time_is_given_up(one_arm: Study, is_trained_before: bool) -> None:
    study = replace(one_arm, base={**one_arm.base, "position": "none"})
    if is_trained_before:
        run(study)
    study = replace(study, eval_lengths="2x,64")
    [job] = plan_jobs(study)
    assert isinstance(job, Job)
    folder = job.checkpoint_folder / "length-32"
    folder.mkdir(parents=True)
    (folder / FILE).write_text(json.dumps(sealed({"deaths": [0, 0], "step": 0})))  # a third death
    results = run(study)
    assert "its process died each time" in only(results, 32).cannot
    assert only(results, 64).metrics


def test_a_trained_model_that_the_task_cannot_make_any_more_keeps_its_row(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    [before] = run(one_arm).rows
    forbid_training(monkeypatch)

    def fail(job: Job) -> CausalLM:
        raise TaskError("Own.model returned 3")

    monkeypatch.setattr("formers.lab.train.other_lengths.load_trained", fail)
    [row] = run(replace(one_arm, eval_lengths="2x"), progress := Heard()).rows
    assert [result.cannot for result in row.lengths] == ["", "Own.model returned 3"]
    assert replace(row, lengths=(), command="") == replace(before, command="")
    assert not any("gone" in note for note in progress.notes)


def test_a_text_that_is_too_short_is_refused_before_anything_trains(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_training(monkeypatch)
    with pytest.raises(ValueError, match="test split of 172 characters, which fills no window of 256"):
        run(replace(one_arm, eval_lengths="16x"))
