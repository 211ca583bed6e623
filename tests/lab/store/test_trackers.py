"""Rows as runs of other trackers."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from formers.lab.store import trackers
from formers.lab.store.records import Point, Results, Row, TaskMetric
from formers.lab.store.trackers import check_tracker, export

LOSS = TaskMetric(name="loss", label="loss")


def results() -> Results:
    curve = (Point(step=5, seconds=1.0, values={"loss": 3.0}), Point(step=10, seconds=2.0, values={"loss": 2.5}))
    rows = [
        Row(
            arm="mixer=linear(feature='elu')/x",
            seed=seed,
            status="finished",
            metrics={"loss": 2.25},
            curve=curve,
            steps=10,
        )
        for seed in (0, 1)
    ]
    return Results(title="t", description="d", metric=LOSS, rows=tuple(rows))


def test_tensorboard_has_each_run_with_its_curve_and_results_once(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        export(results(), "tensorboard", tmp_path)
    runs = sorted((tmp_path / "tensorboard").iterdir())
    assert [run.name for run in runs] == [f"mixer=linear(feature=_elu_)_x,_seed_{seed}" for seed in (0, 1)]
    events = reader.EventAccumulator(str(runs[0])).Reload()
    assert [(event.step, event.value) for event in events.Scalars("validation/loss")] == [(5, 3.0), (10, 2.5)]
    assert [event.value for event in events.Scalars("test/loss")] == [2.25]


def test_arms_whose_names_differ_in_signs_are_runs_of_their_own(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    [row, _] = results().rows
    arms = {"window(4) | sinks(4)": 1.0, "window(4) & sinks(4)": 2.0, "window(4) ~ sinks(4)": 3.0}
    rows = [
        replace(row, arm=arm, metrics={"loss": value}, fingerprint=sha256(arm.encode()).hexdigest())
        for arm, value in arms.items()
    ]
    export(replace(results(), rows=tuple(rows)), "tensorboard", tmp_path)
    runs = [reader.EventAccumulator(str(run)).Reload() for run in (tmp_path / "tensorboard").iterdir()]
    assert sorted(event.value for run in runs for event in run.Scalars("test/loss")) == [1.0, 2.0, 3.0]
    assert [len(run.Scalars("test/loss")) for run in runs] == [1, 1, 1]


def test_the_loss_of_training_batches_is_not_of_the_validation_split(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    [row, _] = results().rows
    curve = (Point(step=5, seconds=1.0, values={"train_loss": 9.0, "loss": 3.0, "accuracy": 0.5}),)
    export(replace(results(), rows=(replace(row, curve=curve),)), "tensorboard", tmp_path)
    [run] = [reader.EventAccumulator(str(run)).Reload() for run in (tmp_path / "tensorboard").iterdir()]
    logged = {tag: run.Scalars(tag)[0].value for tag in run.Tags()["scalars"] if not tag.startswith(("cost/", "test/"))}
    assert logged == {"train/loss": 9.0, "validation/loss": 3.0, "validation/accuracy": 0.5}


def test_other_trackers_get_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []

    class Tracker:
        def __init__(self, project: str, **options: Any) -> None:
            calls.append(("new", (project, options["name"])))

        def start(self) -> None:
            calls.append(("start", None))

        def store_init_configuration(self, values: dict[str, Any]) -> None:
            calls.append(("configuration", values["seed"]))

        def log(self, values: dict[str, Any], step: int) -> None:
            calls.append(("log", (step, values.get("validation/loss", values.get("test/loss")))))

        def finish(self) -> None:
            calls.append(("finish", None))

    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    monkeypatch.setattr("accelerate.tracking.WandBTracker", Tracker)
    export(results(), "wandb", tmp_path / "study")
    one_run = [
        ("start", None),
        ("configuration", 0),
        ("log", (5, 3.0)),
        ("log", (10, 2.5)),
        ("log", (10, 2.25)),
        ("finish", None),
    ]
    assert calls[0] == ("new", ("study", "mixer=linear(feature='elu')/x, seed 0"))
    assert calls[1:7] == one_run
    assert len(calls) == 14


def test_unknown_trackers_and_missing_packages_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="did you mean 'wandb'"):
        check_tracker("wandbb")
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install trackio"):
        check_tracker("trackio")
