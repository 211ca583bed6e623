"""Tracking servers that do not answer, and addresses with passwords."""

from __future__ import annotations

import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from formers.lab import Store, Study, run
from formers.lab.run_study import _save_patiently
from formers.lab.store.tracking_uri import check_server, is_without_answer, without_secrets
from formers.lab.store.write_error import NoAnswer, WriteError
from formers.lab.train.progress import Silent
from formers.lab.train.stop import catch_signals


@contextmanager
def silent_server() -> Iterator[int]:
    """Take connections, and never say a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield server.getsockname()[1]


def unused_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hunter2@host:5000/x", "http://***@host:5000/x"),
        ("postgresql+psycopg2://me:p@ss/w@rd@host/db", "postgresql+psycopg2://***@host/db"),
        ("https://token@host", "https://***@host"),
        ("at http://a:b@h failed: http://a:b@h/api", "at http://***@h failed: http://***@h/api"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_server_that_is_not_there_is_reported_without_the_password(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:hunter2@127.0.0.1:{unused_port()}/x")
    start = time.monotonic()
    with pytest.raises(
        ValueError, match=r"cannot keep rows in MLflow at \w+://\*\*\*@127.*no server answers"
    ) as caught:
        run(one_arm)
    assert time.monotonic() - start < 30
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_says_nothing_is_noticed(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_server() as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        start = time.monotonic()
        with pytest.raises(ValueError, match=r"no server answers there within 5 seconds.*unset it"):
            Store(one_arm.folder, "test")
        assert time.monotonic() - start < 30


def test_a_file_is_no_server() -> None:
    check_server("sqlite:////nowhere/mlflow.db")
    check_server("file:///nowhere")
    check_server("databricks")


class Unreachable(Store):
    """A server that has gone away."""

    def __init__(self, answers_after: int = 10**9) -> None:
        self.asked, self.answers_after = 0, answers_after

    def save(self, row: object) -> None:
        self.asked += 1
        if self.asked <= self.answers_after:
            raise NoAnswer("gone")


class Notes(Silent):
    def __init__(self) -> None:
        self.notes = list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_server_that_comes_back_gets_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formers.lab.run_study._PAUSES", (0, 0, 0))
    store, progress = Unreachable(answers_after=2), Notes()
    with catch_signals() as stop:
        _save_patiently(store, object(), progress, stop)  # type: ignore[arg-type]
    assert store.asked == 3
    assert progress.notes == ["gone; trying again in 0 s"] * 2


def test_one_that_stays_away_ends_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formers.lab.run_study._PAUSES", (0, 0))
    with catch_signals() as stop, pytest.raises(WriteError, match="gone"):
        _save_patiently(Unreachable(), object(), Notes(), stop)  # type: ignore[arg-type]


def test_a_stop_ends_the_wait_for_a_server() -> None:
    start = time.monotonic()
    with catch_signals() as stop:
        threading.Timer(0.5, lambda: signal.raise_signal(signal.SIGTERM)).start()
        with pytest.raises(NoAnswer):
            _save_patiently(Unreachable(), object(), Notes(), stop)  # type: ignore[arg-type]
    assert time.monotonic() - start < 4


def test_a_server_that_stops_answering_is_told_from_one_that_refuses(
    one_arm: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException, RestException

    assert is_without_answer(MlflowException("API request to http://x failed with exception refused"))
    assert is_without_answer(MlflowException("API request to http://x failed with timeout exception read"))
    assert not is_without_answer(RestException({"error_code": "INVALID", "message": "failed with exception x"}))
    store, [row] = Store(one_arm.folder, "test"), run(replace(one_arm, folder=one_arm.folder)).rows

    def refuse(*given: object, **options: object) -> None:
        raise MlflowException("API request to http://me:hunter2@x failed with exception refused")

    monkeypatch.setattr(store.experiment.client, "create_run", refuse)
    with pytest.raises(NoAnswer, match=r"http://\*\*\*@x") as caught:
        store.save(row)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
