from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainerControl, TrainerState

from formers.lab import Arm, Results, Row, Stopped, Store, Study, run
from formers.lab.report.stored_results import stored_results
from formers.lab.store.write_error import WriteError
from formers.lab.train.callback import TrainingCallback
from formers.lab.train.progress import Silent
from formers.lab.train.trainer import SafeTrainer
from formers.mixers.identity import IdentityMixer
from formers.tasks.evaluation import Evaluation, Split
from formers.tasks.task import Task


class StopsAt(Silent):
    """Presses Ctrl-C in the middle of a study."""

    def __init__(self, step: int) -> None:
        self.at, self.began = step, list[str]()

    def begin(self, label: str, steps: int) -> None:
        self.began.append(label)

    def step(self, label: str, done: int) -> None:
        if done == self.at:
            self.at = -1
            signal.raise_signal(signal.SIGINT)


def models(study: Study) -> dict[str, dict[str, torch.Tensor]]:
    files = sorted(study.folder.glob("models/*/model.safetensors"))
    return {file.parent.name: load_file(file) for file in files}


def values(row: Row) -> list[tuple[int, dict[str, float]]]:
    return [(point.step, point.values) for point in row.curve]


def statuses(results: Results) -> dict[str, str]:
    return {row.arm: row.status for row in results.rows}


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*given: object, **options: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "train", train)


def test_a_study_leaves_rows_models_and_a_report(small: Study) -> None:
    results = run(small)
    assert statuses(results) == {"softmax": "finished", "identity": "finished"}
    softmax = results.rows[0]
    assert [point.step for point in softmax.curve] == list(range(1, 9))
    evaluated = {point.step: point.values["loss"] for point in softmax.curve if "loss" in point.values}
    assert softmax.chosen_step == min(evaluated, key=lambda step: (evaluated[step], step))
    assert softmax.validation["loss"] == evaluated[softmax.chosen_step]
    assert softmax.metrics["loss"] != softmax.validation["loss"]  # of another split
    assert softmax.state_bytes > softmax.state_bytes_per_token
    assert sum("loss" in point.values for point in softmax.curve) == 2
    assert all("train_loss" in point.values for point in softmax.curve)
    assert softmax.parameters > results.rows[1].parameters > 0
    assert softmax.flops_per_token > 0
    assert softmax.state_bytes_per_token > 0
    assert softmax.train_seconds > 0
    assert softmax.tokens_per_second == pytest.approx(8 * 2 * 16 / softmax.train_seconds)
    assert softmax.peak_bytes is None or softmax.peak_bytes > 1e7
    weights_gradients_and_moments = 4 * 4 * softmax.parameters
    assert weights_gradients_and_moments < softmax.tensor_bytes < 20 * weights_gradients_and_moments
    assert len(softmax.samples[0]) == 16
    assert {"torch", "python", "transformers", "formers", "device", "threads"} <= softmax.environment.keys()
    assert softmax.command.startswith("formers train ")
    assert set(softmax.choices) == {"mixer", "position", "residual", "norm", "ffn"}
    assert results.references["bigram"] > 0
    assert {path.name for path in small.folder.iterdir()} >= {"report.html", "report.json", "study.yaml", "models"}
    assert not list(small.folder.glob("checkpoints/*"))


def test_a_row_holds_the_steps_that_tokens_take(one_arm: Study) -> None:
    halting = Arm("halting", {"computation": "act()", "depth": 3})
    fixed, row = run(replace(one_arm, arms=(*one_arm.arms, halting))).rows
    assert fixed.steps_per_token is fixed.flops_per_token_taken is None
    assert 1 <= row.steps_per_token < 3  # two at the start
    model = AutoModelForCausalLM.from_pretrained(next(one_arm.folder.glob("models/halting*")))
    assert row.flops_per_token == model.flops_per_token(16)
    assert row.flops_per_token_taken == model.flops_per_token(16, row.steps_per_token) < row.flops_per_token


def test_the_same_study_again_trains_nothing(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(small)
    forbid_training(monkeypatch)
    assert run(small) == first
    renamed = replace(small, arms=(Arm("other", {"mixer": "softmax"}), small.arms[1]))
    assert [row.arm for row in run(renamed).rows] == ["other", "identity"]


def test_a_teams_server_knows_a_study_however_its_folder_is_written(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = one_arm.folder
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.move(folder / 'mlflow.db', folder.parent)}")
    expected = run(one_arm).rows
    monkeypatch.chdir(folder)
    forbid_training(monkeypatch)
    for written in (Path("."), Path("../study"), folder):
        assert run(replace(one_arm, folder=written)).rows == expected
        (folder / "report.json").unlink()  # rows are from the server alone
        assert stored_results(written).rows == expected


def test_a_new_seed_is_a_new_run(one_arm: Study) -> None:
    results = run(replace(one_arm, seeds=(0, 1)))
    assert [row.seed for row in results.rows] == [0, 1]
    assert results.rows[0].metrics != results.rows[1].metrics
    assert results.rows[0].fingerprint != results.rows[1].fingerprint


@pytest.mark.parametrize("step", [3, 5])
def test_stopped_and_resumed_is_the_same_to_the_bit(small: Study, step: int) -> None:
    whole = run(small)
    cut = replace(small, folder=small.folder.with_name("cut"))
    with pytest.raises(Stopped, match=rf"0 of 2 runs are done; 'softmax' is kept at step {step}. Go on with: .*yaml"):
        run(cut, StopsAt(step))
    assert Store(cut.folder, "formers/cut").rows()[whole.rows[0].fingerprint].status == "stopped"
    progress = StopsAt(-1)
    again = run(cut, progress)
    assert progress.began == ["softmax", "identity"]
    expected, found = models(small), models(cut)
    assert expected.keys() == found.keys()
    for name, weights in expected.items():
        assert weights.keys() == found[name].keys()
        assert all(found[name][key].equal(value) for key, value in weights.items()), name
    assert [row.metrics for row in again.rows] == [row.metrics for row in whole.rows]
    assert [values(row) for row in again.rows] == [values(row) for row in whole.rows]
    seconds = [point.seconds for point in again.rows[0].curve]
    assert seconds == sorted(seconds)
    assert not list(cut.folder.glob("checkpoints/*"))


def test_stages_go_on_from_each_other_and_resume_to_the_bit(one_arm: Study, tmp_path: Path) -> None:
    """A stop in the second stage, and one in the first: what is finished is not trained again."""
    arm = Arm("window", {"mixer": "sparse(pattern=window(8))", "depth": 2})
    staged = replace(one_arm, arms=(arm,), budget=replace(one_arm.budget, stages=2))
    cut = replace(staged, folder=tmp_path / "cut")
    whole = run(staged)
    [row] = whole.rows
    assert (row.steps, [point.step for point in row.curve]) == (8, list(range(1, 9)))
    assert row.chosen_step == 8
    assert row.config["context_length"] == 16
    for step in (2, 6):
        with pytest.raises(Stopped, match=f"kept at step {step}"):
            run(cut, progress=StopsAt(step))
    assert len(list(cut.folder.glob("checkpoints/*/stage-1.safetensors"))) == 1
    [again] = run(cut).rows
    assert values(again) == values(row)
    assert again.metrics == row.metrics
    assert all(torch.equal(value, models(staged)[n][key]) for n, m in models(cut).items() for key, value in m.items())
    assert not list(cut.folder.glob("checkpoints/*"))


def test_a_stop_between_arms_keeps_the_finished_ones(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped, match="1 of 2 runs are done"):
        run(small, StopsAt(8))
    progress = StopsAt(-1)
    assert statuses(run(small, progress)) == {"softmax": "finished", "identity": "finished"}
    assert progress.began == ["identity"]


@pytest.mark.parametrize(
    ("error", "status", "cause"),
    [
        (RuntimeError("broken\nbadly"), "failed", "RuntimeError: broken"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory", "can't allocate"),
    ],
)
def test_a_failing_arm_is_a_row(
    small: Study, monkeypatch: pytest.MonkeyPatch, error: Exception, status: str, cause: str
) -> None:
    forward = IdentityMixer.forward

    def fail(self: IdentityMixer, x_bld: torch.Tensor, *given: object, **options: object) -> object:
        if not x_bld.is_meta:
            raise error
        return forward(self, x_bld, *given, **options)  # type: ignore[arg-type]

    first = replace(small, arms=small.arms[::-1])
    with monkeypatch.context() as patch:
        patch.setattr(IdentityMixer, "forward", fail)
        results = run(first)
    assert statuses(results) == {"identity": status, "softmax": "finished"}
    assert cause in results.rows[0].cause
    assert "\n" not in results.rows[0].cause
    assert results.rows[0].parameters > 0
    assert "Traceback" in next(small.folder.glob("failures/identity*")).read_text()
    assert statuses(run(first)) == {"identity": "finished", "softmax": "finished"}  # a failed arm is tried again


def test_an_arm_that_ends_early_by_itself_is_not_stopped_for_ever(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(
        self: TrainingCallback, args: object, state: TrainerState, control: TrainerControl, **given: object
    ) -> None:
        control.should_training_stop = state.global_step == 3

    monkeypatch.setattr(TrainingCallback, "on_step_end", end)
    [row] = run(one_arm).rows
    assert row.status == "failed"
    assert "ended after 3 of 8 steps, and nobody asked it to stop" in row.cause


def test_a_diverging_arm_is_a_row(one_arm: Study) -> None:
    study = replace(one_arm, budget=replace(one_arm.budget, learning_rate=1e30, clip=1e30, warmup=0.0))
    [row] = run(study).rows
    assert row.status == "diverged"
    assert "nan" in row.cause or "inf" in row.cause
    assert row.steps < 8 or row.metrics == {}


def test_an_arm_that_cannot_exist_is_a_row(small: Study) -> None:
    study = replace(small, arms=(Arm("fourier", {"mixer": "fourier"}), *small.arms[1:]))
    for _ in range(2):
        results = run(study)
        assert statuses(results) == {"fourier": "unsupported", "identity": "finished"}
        assert "causal" in results.rows[0].cause
        assert results.rows[0].choices["mixer"] == "fourier()"


def test_a_wrong_arm_stops_everything_before_it_starts(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_training(monkeypatch)
    with pytest.raises(ValueError, match="did you mean 'depth'"):
        run(replace(small, arms=(*small.arms, Arm("bad", {"dept": 2}))))
    assert not (small.folder / "study.yaml").exists()


def test_every_arm_sees_the_same_data_in_the_same_order(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[torch.Tensor]] = []
    step = SafeTrainer.training_step

    def record(
        self: SafeTrainer, model: torch.nn.Module, inputs: dict[str, torch.Tensor], *given: object
    ) -> torch.Tensor:
        if self.state.global_step == 0:
            seen.append([])
        seen[-1].append(inputs["input_ids"].clone())
        return step(self, model, inputs, *given)

    monkeypatch.setattr(SafeTrainer, "training_step", record)
    run(small)
    first, second = (torch.stack(batches) for batches in seen)
    assert first.shape == (8, 2, 16)
    assert first.equal(second)
    data = small.task.build(0, 16)
    assert first.flatten(0, 1).equal(torch.stack([data[i]["input_ids"] for i in range(16)]))


def test_what_a_step_leaves_out_changes_no_bit(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = run(one_arm)
    for name in ("training_step", "floating_point_ops"):
        monkeypatch.setattr(SafeTrainer, name, getattr(Trainer, name))
    slow = replace(one_arm, folder=one_arm.folder.with_name("slow"))
    assert [row.metrics for row in run(slow).rows] == [row.metrics for row in quick.rows]
    expected, found = models(slow), models(one_arm)
    assert expected.keys() == found.keys()
    assert all(found[arm][name].equal(value) for arm in expected for name, value in expected[arm].items())


def test_a_task_that_leaves_the_model_evaluating_trains_with_dropout_all_the_same(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(one_arm.task)
    evaluate, modes = kind.evaluate, list[bool]()

    def forgets(self: Task, model: PreTrainedModel, split: Split = "validation") -> Evaluation:
        found = evaluate(self, model, split)
        model.eval()
        return found

    step = SafeTrainer.training_step

    def record(self: SafeTrainer, model: torch.nn.Module, *given: object) -> torch.Tensor:
        modes.append(all(module.training for module in model.modules()))
        return step(self, model, *given)

    monkeypatch.setattr(kind, "evaluate", forgets)
    monkeypatch.setattr(SafeTrainer, "training_step", record)
    run(one_arm)
    assert modes == [True] * 8


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            WriteError("cannot keep x in y"),
            WriteError,
            "cannot keep x in y\nWhat was kept before is still there. {command}",
        ),
        (KeyboardInterrupt(), Stopped, "stopped at once; what is since the last checkpoint is lost. {command}"),
        (Stopped("as asked"), Stopped, "as asked"),
    ],
)
def test_what_breaks_a_study_off_says_how_to_go_on(
    small: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    kind: type[BaseException],
    words: str,
) -> None:
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr("formers.lab.run_study.Store", fail)
    command = f"Go on with: formers ablate '{tmp_path}/my study/study.yaml'"
    with pytest.raises(kind) as caught:
        run(replace(small, folder=tmp_path / "my study"))
    assert str(caught.value) == words.format(command=command)
