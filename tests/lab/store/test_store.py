from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from formers.lab import Point, Row, Store

ROW = Row(
    arm="linear",
    seed=3,
    status="finished",
    choices={"mixer": "linear()", "position": "learned()"},
    config={"width": 16},
    metrics={"loss": 1.5},
    curve=(Point(step=1, seconds=0.5, values={"loss": 2.5}), Point(step=2, seconds=0.7, values={"loss": 1.5})),
    samples=("ROMEO:\nα",),
    steps=2,
    environment={"torch": "2", "formers": "0.0.1"},
    fingerprint="f" * 64,
    command="formers train sort",
)


@pytest.fixture
def folder(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path


def test_rows_come_back_whole(folder: Path) -> None:
    Store(folder, "test").save(ROW)
    assert Store(folder, "test").rows() == {ROW.fingerprint: ROW}
    assert not (folder / "mlruns").exists()


def test_the_newest_row_of_a_run_counts(folder: Path) -> None:
    store = Store(folder, "test")
    store.save(replace(ROW, status="stopped", metrics={}))
    store.save(ROW)
    store.save(replace(ROW, fingerprint="other", status="diverged", metrics={"loss": float("inf")}))
    rows = store.rows()
    assert rows[ROW.fingerprint] == ROW
    assert rows["other"].status == "diverged"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps(asdict(ROW) | {"colour": "red"}), "the row of 'linear' was written by formers 0.0.1"),
        (json.dumps({k: v for k, v in asdict(ROW).items() if k != "seed"}), "was written by formers 0.0.1"),
        (json.dumps({k: v for k, v in asdict(ROW).items() if k != "curve"}), "this version cannot read it"),
        (json.dumps(asdict(ROW) | {"fingerprint": "e" * 64}), "it is the row of another run"),
        ("[]", "a list is not a row of formers"),
    ],
)
@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_row_that_another_version_wrote_is_named(folder: Path, text: str, words: str, is_sealed: bool) -> None:
    store = Store(folder, "test")
    store.save(ROW)
    [run] = store.experiment.runs()
    [path] = folder.glob("artifacts/*/artifacts/row.json")
    path.write_text(text)
    with pytest.raises(ValueError, match=r"it is not what was written.*Nothing was changed"):
        store.rows()
    client, tag = store.experiment.client, "formers.row_sha256"
    if is_sealed:
        client.set_tag(run.info.run_id, tag, hashlib.sha256(text.encode()).hexdigest())
    else:  # as in the first versions
        client.delete_tag(run.info.run_id, tag)
    with pytest.raises(ValueError, match=rf"{words}.*Nothing was changed"):
        store.rows()


def test_a_run_is_readable_in_mlflow(folder: Path) -> None:
    store = Store(folder, "test")
    store.save(ROW)
    [run] = store.experiment.client.search_runs([store.experiment.experiment_id])
    assert run.data.params == {"mixer": "linear()", "position": "learned()", "seed": "3"}
    assert [(m.step, m.value) for m in store.experiment.client.get_metric_history(run.info.run_id, "loss")] == [
        (1, 2.5),
        (2, 1.5),
    ]
    assert run.info.status == "FINISHED"
    assert run.data.tags["formers.command"] == ROW.command


def test_the_tracking_uri_is_respected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team = folder / "team"
    team.mkdir()
    shutil.move(folder / "mlflow.db", team / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{team}/mlflow.db")
    Store(folder / "mine", "test").save(ROW)
    assert not (folder / "mine" / "mlflow.db").exists()
    assert Store(folder / "elsewhere", "test").rows() == {ROW.fingerprint: ROW}


def test_a_run_that_was_never_ended_is_not_a_row(folder: Path) -> None:
    store = Store(folder, "test")
    store.experiment.client.create_run(store.experiment.experiment_id, tags={"formers.fingerprint": "half"})
    assert store.rows() == {}


def test_a_store_that_cannot_be_opened_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{folder}/plain")
    with pytest.raises(ValueError, match="cannot keep rows in MLflow at file"):
        Store(folder, "test")
