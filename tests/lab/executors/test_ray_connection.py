"""A wrong address of a cluster is named at once; Ray itself would try for minutes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from formers.cli.app import app
from formers.lab import Study, write_study
from formers.lab.executors.ray_connection import TIMEOUT, check_address


@pytest.fixture
def listening() -> Iterator[int]:
    """A port where connections are taken."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


@pytest.fixture(autouse=True)
def nothing_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No address in the environment, and a folder of Ray's own without one."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


def test_where_somebody_answers_nothing_is_said(
    listening: int, nothing_recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (f"127.0.0.1:{listening}", f"ray://127.0.0.1:{listening}", "local", "auto"):
        check_address(address)
    nothing_recorded.write_text(f"127.0.0.1:{listening}")
    check_address("auto")
    monkeypatch.setenv("RAY_ADDRESS", f"ray://localhost:{listening}")
    check_address("auto")


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "localhost:{}"])
def test_a_closed_port_is_named(closed: int, form: str) -> None:
    address = form.format(closed)
    with pytest.raises(ValueError) as refused:
        check_address(address)
    said = str(refused.value)
    assert said.startswith(f"--ray {address}: no Ray cluster answers at ")
    assert "(Connection refused)" in said
    assert "`ray start --head`" in said
    assert "--ray local" in said


def test_what_auto_stands_for_is_named(closed: int, nothing_recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_recorded.write_text(f"127.0.0.1:{closed}\n")
    with pytest.raises(ValueError, match=rf"--ray auto: .* 127.0.0.1:{closed}, which {nothing_recorded} names"):
        check_address("auto")
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    with pytest.raises(ValueError, match="--ray auto: 'somewhere' is no address of a Ray cluster; expected host:port"):
        check_address("auto")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:port", "http://127.0.0.1:80", ":6379", ""])
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(ValueError, match="is no address of a Ray cluster; expected host:port"):
        check_address(address)


def ablate(study: Study, address: str) -> str:
    """What `formers ablate --ray` says before it gives up."""
    write_study(study, study.folder / "study.yaml")
    done = CliRunner().invoke(app, ["ablate", str(study.folder / "study.yaml"), "--ray", address])
    assert done.exit_code == 2, done.output
    return done.output


def test_the_command_says_so_at_once(one_arm: Study, closed: int) -> None:
    pytest.importorskip("ray")
    start = time.monotonic()
    assert ablate(one_arm, f"127.0.0.1:{closed}").startswith(
        f"formers: --ray 127.0.0.1:{closed}: no Ray cluster answers"
    )
    assert time.monotonic() - start < 6 * TIMEOUT  # importing Ray takes its time, too


def test_no_cluster_on_this_machine_is_said(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(**options: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")  # as Ray does; one may be running here

    monkeypatch.setattr(ray, "init", init)
    said = ablate(one_arm, "auto")
    assert said.startswith(
        "formers: --ray auto: no Ray cluster runs on this machine, and RAY_ADDRESS names none. Start one"
    )
    assert "`ray start --head`" in said
