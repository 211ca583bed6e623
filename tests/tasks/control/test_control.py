from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from formers.lab import Arm, Budget, Study, run
from formers.tasks import Control, parse
from formers.tasks.checks.checked_task import CheckedTask
from formers.tasks.control import policies_for, record, save_recording
from formers.tasks.control.policies import EXPERT, RANDOM

pytest.importorskip("gymnasium", reason="the extra control")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small recording of two policies."""
    found = record("CartPole-v1", policies_for("CartPole-v1"), {RANDOM: 12, EXPERT: 1})
    return save_recording(found, tmp_path_factory.mktemp("recording"))


def small(recording: Path, **options: Any) -> Control:
    return Control(path=str(recording), length=4, episodes=2, **options)


def model_of(task: Control, **choices: Any) -> Any:
    torch.manual_seed(0)
    return task.model(task.base().swap(width=16, depth=1, **choices)).eval()


def test_text_and_parts() -> None:
    task = parse("control(env='CartPole-v1', data=medium, top=0.5)")
    assert (task.data, task.top, task.length) == ("medium", 0.5, 20)
    assert parse(str(task)) == task
    for wrong in ("length=0", "episodes=0", "top=0", "top=1.5"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            parse(f"control({wrong})")


def test_the_library_records_cartpole_itself() -> None:
    task = Control()
    assert list(task.trajectories.summary()) == ["random", "medium", "expert"]
    assert task.references()["expert"] == 100
    assert task.references()["random"] == 0
    assert Control(data="medium").references().keys() == {"medium"}
    example = task.build(0, 4)[3]
    assert example.keys() == {"states", "actions", "timesteps", "returns_to_go", "attention_mask", "labels"}
    again = task.build(0, 4)[3]
    assert all(torch.equal(example[name], again[name]) for name in example)
    assert not torch.equal(task.build(1, 4)[3]["states"], example["states"])


def test_the_base_fits_the_environment(recording: Path) -> None:
    config = small(recording).base()
    sizes = (config.state_size, config.action_size, config.longest_episode, config.context_length)
    assert sizes == (4, 2, 500, 12)
    assert config.discrete_actions
    assert str(config.position) == "none()"


def test_options_of_arms_leave_the_data_as_they_are(recording: Path) -> None:
    task = small(recording)
    hashes = {task.swap(**change).data_hash for change in ({}, {"top": 0.1}, {"delayed": True}, {"length": 9})}
    assert len(hashes) == 1
    assert small(recording, data="random").data_hash not in hashes
    assert len(task.swap(top=0.1).chosen.lengths) == 1
    assert task.swap(top=0.1).scaling.largest == task.scaling.largest


def test_an_evaluation_is_the_same_every_time_and_its_parts_agree(recording: Path) -> None:
    task = small(recording)
    model = model_of(task).train()
    found, again = (CheckedTask(task).evaluate(model, "test") for _ in range(2))
    assert found == again
    assert model.training
    trajectories = task.trajectories
    assert found.metrics["score"] == pytest.approx(trajectories.score(found.metrics["return"]))
    assert found.metrics["score"] == pytest.approx(sum(found.items) / 2)
    reached = found.slices["asked-for score"]
    assert list(reached) == ["0", "25", "50", "75", "100", "125 (never seen)"]
    assert reached["100"] == pytest.approx(found.metrics["score"])
    validation = task.evaluate(model)
    assert not validation.slices
    assert validation.items != found.items


def test_a_model_that_clones_behaviour_reaches_the_same_whatever_is_asked_for(recording: Path) -> None:
    task = small(recording)
    found = task.evaluate(model_of(task, return_conditioned=False), "test")
    assert len(set(found.slices["asked-for score"].values())) == 1
    assert "asked" not in task.samples(model_of(task, return_conditioned=False))[0]


def test_a_return_never_seen_is_tried_and_noted(recording: Path) -> None:
    task = small(recording, target=800.0)
    assert not task.is_seen(800)
    assert task.is_seen(500)
    [sample] = task.samples(model_of(task))
    assert sample.startswith("asked for a return of 800: ")
    assert sample.endswith(
        "No trajectory that was trained on has a return above 500: what the model does is extrapolated."
    )
    assert "score" in task.evaluate(model_of(task)).metrics
    assert not small(recording).note_on_target()


def test_pictures(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL", reason="the extra control")
    task = small(recording)
    [picture] = CheckedTask(task).pictures(model_of(task))
    assert picture.uri.startswith("data:image/gif;base64,")
    assert picture.caption.startswith("CartPole-v1, asked for a return of 500, reached ")
    monkeypatch.setattr("formers.tasks.control.drawing.make_environment", lambda *_, **__: 1 / 0)
    with pytest.warns(UserWarning, match="no picture of a rollout: CartPole-v1 cannot be drawn here"):
        assert task.pictures(model_of(task)) == ()


def test_what_is_saved_beside_a_model(recording: Path, tmp_path: Path) -> None:
    task = small(recording)
    task.save(tmp_path)
    facts = json.loads((tmp_path / "control.json").read_text())
    assert parse(facts["task"]) == task
    assert len(facts["mean"]) == len(facts["deviation"]) == 4
    assert facts["target"] == facts["largest"] == 500


def test_recordings_that_cannot_be_used(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no trajectories"):
        _ = Control(path=str(tmp_path)).trajectories
    with pytest.raises(ValueError, match="was recorded in CartPole-v1; write env='CartPole-v1'"):
        _ = Control(path=str(recording), env="Pendulum-v1").trajectories
    with pytest.raises(ValueError, match=r"no policies for Pendulum-v1; record some.*path='minari:"):
        _ = Control(env="Pendulum-v1").trajectories
    with pytest.raises(ValueError, match="of a policy 'experts'"):
        _ = small(recording, data="experts").chosen


def test_arms_are_compared(recording: Path, tmp_path: Path) -> None:
    """A whole study in miniature: the Decision Transformer, behaviour cloning, and that of the best tenth."""
    study = Study(
        task=small(recording).swap(episodes=1),
        arms=(
            Arm("dt", {"mixer": "softmax"}),
            Arm("10 %", {"return_conditioned": False, "task.top": 0.1}),
            Arm("shorter", {"task.length": 2, "task.delayed": True, "residual": "gated"}),
        ),
        base={"width": 16, "depth": 1},
        budget=Budget(steps=3, batch_size=4, evaluations=1),
        folder=tmp_path / "study",
    )
    rows = run(study).rows
    assert [row.status for row in rows] == ["finished"] * 3, [row.cause for row in rows]
    assert [row.choices["task.top"] for row in rows] == ["1.0", "0.1", "1.0"]
    assert rows[1].parameters < rows[0].parameters
    assert all(row.flops_per_token for row in rows)
    assert len({row.data_hash for row in rows}) == 1
    page = (tmp_path / "study" / "report.html").read_text()
    assert "data:image/gif;base64," in page
    assert "by asked-for score" in page


@pytest.mark.slow
def test_it_learns_to_balance_and_to_do_as_it_is_asked(tmp_path: Path) -> None:
    """A minute on one core: what the default study shows, with one seed."""
    study = Study(
        task="control(length=10)",
        arms=(Arm("dt", {"mixer": "softmax"}),),
        base={"width": 32},
        budget=Budget(steps=600, batch_size=32, learning_rate=3e-3, evaluations=1),
        folder=tmp_path / "study",
    )
    [row] = run(study).rows
    assert row.metrics["score"] > 50
    reached = row.slices["asked-for score"]
    assert reached["0"] < reached["50"] < reached["100"]
