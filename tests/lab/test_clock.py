"""Clocks that are wrong: nothing is decided by them."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab import Row, Stopped, Store, Study, run
from formers.lab.report.stored_results import stored_results
from formers.lab.store.experiment import SEQUENCE
from formers.lab.train.progress import Silent

YEAR = 365 * 86400.0
SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set the clock of this process ahead by some seconds."""
    right = time.time

    def ahead(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: right() + seconds)

    return ahead


class StopsAt(Silent):
    """A stop is asked for at one step of each arm in turn: the first that gets there ends the process's training."""

    def __init__(self, step: int) -> None:
        self.at, self.began = step, list[str]()

    def begin(self, label: str, steps: int) -> None:
        self.began.append(label)

    def step(self, label: str, done: int) -> None:
        if done == self.at:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("clocks", [(YEAR, 0.0, -YEAR), (0.0, -YEAR, YEAR)])
def test_a_study_goes_on_whatever_the_clock_says(
    one_arm: Study, empty_database: Path, set_clock: SetClock, clocks: tuple[float, ...]
) -> None:
    set_clock(clocks[0])
    with pytest.raises(Stopped):
        run(one_arm, StopsAt(3))
    set_clock(clocks[1])
    with pytest.raises(Stopped):
        run(one_arm, StopsAt(5))
    assert [(row.status, row.steps) for row in stored_results(one_arm.folder).rows] == [("stopped", 5)]
    set_clock(clocks[2])
    [row] = run(one_arm).rows
    assert [found.status for found in stored_results(one_arm.folder).rows] == ["finished"]
    again = StopsAt(0)
    assert run(one_arm, again).rows == (row,)
    assert again.began == []  # the finished arm is not trained again
    whole = replace(one_arm, folder=one_arm.folder.with_name("whole"))
    whole.folder.mkdir()
    shutil.copy(empty_database, whole.folder / "mlflow.db")
    assert run(whole).rows[0].metrics == row.metrics


def kept(folder: Path, set_clock: SetClock, *rows: tuple[float, Row]) -> Store:
    """Keep rows one after the other, each while the clock is ahead by some seconds."""
    store = Store(folder, "test")
    for seconds, row in rows:
        set_clock(seconds)
        store.save(row)
    return Store(folder, "test")


@pytest.mark.parametrize("is_old", [False, True])
def test_rows_are_in_the_order_in_which_they_were_kept(
    empty_database: Path, tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch, is_old: bool
) -> None:
    """Also those of a folder whose rows have no numbers yet."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    stopped = Row(arm="a", seed=0, status="stopped", steps=3, fingerprint="f")
    other = replace(stopped, fingerprint="g", status="finished")
    store = kept(tmp_path, set_clock, (YEAR, other), (2 * YEAR, stopped), (0.0, replace(stopped, steps=5)))
    if is_old:
        for found in store.experiment.runs():
            store.experiment.client.delete_tag(found.info.run_id, SEQUENCE)
    assert [(name, row.steps) for name, row in store.rows().items()] == [("g", 3), ("f", 5)]
    store = kept(tmp_path, set_clock, (-YEAR, replace(stopped, steps=2, cause="its checkpoints were gone")))
    assert store.rows()["f"].steps == 2


def test_a_final_row_is_the_newest_one_of_its_experiment(
    empty_database: Path, tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that an earlier version, misled by the clock, trained again."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    finished = Row(arm="a", seed=0, status="finished", fingerprint="f")
    store = kept(tmp_path, set_clock, (0.0, finished), (YEAR, replace(finished, status="stopped")))
    assert store.rows() == {"f": finished}
