"""Empty tables: made once, kept in the user's cache, copied from there."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import OperationalError

import formers.lab.store.database
from formers.lab import Arm, Budget, Store, Study, run
from formers.lab.store.database import (
    cache_path,
    copy_from_cache,
    copy_to_cache,
    is_write_failure,
    make_database,
    sqlite_uri,
)
from formers.lab.store.experiment import check_place


@pytest.fixture
def made(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What MLflow has made tables in; in place of its second of work, a copy of what it made before."""
    calls: list[Path] = []

    def create_tables(part: Path) -> None:
        calls.append(part)
        shutil.copy(empty_database, part)

    monkeypatch.setattr(formers.lab.store.database, "create_tables", create_tables)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return calls


def test_tables_are_made_once(made: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_database(tmp_path / f"{name}.db")
    assert len(made) == 1
    assert len({(tmp_path / f"{name}.db").read_bytes() for name in ("a", "b", "c")}) == 1
    assert sorted(path.name for path in cache_path().parent.iterdir()) == [cache_path().name]


def test_no_trace_of_where_they_were_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_database(tmp_path / "first.db")  # by MLflow itself
    with sqlite3.connect(cache_path()) as database:
        assert database.execute("SELECT count(*) FROM experiments").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store = Store(tmp_path / "study", "test")
    assert store.experiment.client.get_experiment("0").artifact_location.startswith(str(tmp_path / "elsewhere"))


UNQUOTES = tuple(map(int, sqlalchemy.__version__.split(".")[:2])) >= (2, 1)
"""Versions before take `%3F` in the path of an address as it is."""


@pytest.mark.parametrize(
    "name",
    ["a b é", "h#1", "100%", "p%zz", "a&b=c;d", "quo\"te'", "back\\slash", "new\nline", "sqlite:", "@x:y", "日本"],
)
def test_an_address_names_the_file_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with closing(sqlite3.connect(tmp_path / name / "rows.db")) as database, database:
        database.execute("CREATE TABLE here (x)")
    engine = create_engine(sqlite_uri(tmp_path / name / "rows.db"))
    assert inspect(engine).get_table_names() == ["here"]
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("what?x", r"has \? in it"),
        pytest.param("p%3Fq", "has %3F in it", marks=pytest.mark.skipif(not UNQUOTES, reason="takes it as it is")),
        ("sur\udce9", "is not in UTF-8"),
    ],
)
def test_a_folder_that_no_address_can_name_is_refused(
    tmp_path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would be in a file that another study has, too."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match=rf"{said}, which MLflow reads as something else .* rename this one"):
        Store(tmp_path / name, "test")
    arms = [Arm("softmax", {"mixer": "softmax"})]
    with pytest.raises(ValueError, match=said):
        run(Study(task="sort(length=8)", arms=arms, budget=Budget(steps=1), folder=tmp_path / name / "study"))
    assert [*tmp_path.iterdir()] == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://team")  # has its own files
    check_place(tmp_path / name)


def test_nothing_is_said_while_they_are_made(python: Any, tmp_path: Path) -> None:
    database = tmp_path / "one.db"
    code = f"import pathlib, formers.lab.store.database as d; d.make_database(pathlib.Path({str(database)!r}))"
    done = python.run("-c", code, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert (done.returncode, done.out, done.err) == (0, "", "")
    assert database.stat().st_size


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:50000]),
        lambda path: path.write_bytes(b"x" * 9000),
        lambda path: (path.unlink(), sqlite3.connect(path).execute("CREATE TABLE other (x)")),
        lambda path: (path.unlink(), path.mkdir(), (path / "in the way").touch()),
        lambda path: (shutil.rmtree(path.parent), path.parent.write_text("a file for the folder")),
        lambda path: (shutil.rmtree(path.parent.parent), path.parent.parent.write_text("a file for the cache")),
    ],
)
def test_a_cache_that_cannot_be_used_costs_time_only(
    made: list[Path], tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    make_database(tmp_path / "whole.db")
    damage(cache_path())
    make_database(tmp_path / "found.db")
    assert len(made) == 2
    assert (tmp_path / "found.db").read_bytes() == (tmp_path / "whole.db").read_bytes()


def test_a_user_without_a_home_has_none(made: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "nowhere")
    monkeypatch.chdir(tmp_path)
    make_database(tmp_path / "a.db")
    assert not (tmp_path / "nowhere").exists()


def test_who_reads_while_others_write_finds_it_whole(empty_database: Path, made: list[Path], tmp_path: Path) -> None:
    copy_to_cache(empty_database, cache_path())
    with ThreadPoolExecutor(4) as pool:
        written = [pool.submit(copy_to_cache, empty_database, cache_path()) for _ in range(20)]
        found = [pool.submit(copy_from_cache, cache_path(), tmp_path / f"{i}.db") for i in range(20)]
        assert all(item.result() for item in found)
        assert [item.result() for item in written] == [None] * 20
    assert [path.name for path in cache_path().parent.iterdir()] == [cache_path().name]


@pytest.mark.parametrize(
    ("code", "is_written_later"),
    [
        (sqlite3.SQLITE_FULL, True),
        (sqlite3.SQLITE_IOERR | 3 << 8, True),  # of a write
        (sqlite3.SQLITE_READONLY, True),
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_CORRUPT, False),
        (sqlite3.SQLITE_NOTADB, False),
    ],
)
def test_a_full_disk_is_not_damage(code: int, is_written_later: bool) -> None:
    inner = sqlite3.OperationalError("database or disk is full")
    inner.sqlite_errorcode = code
    wrapped = OperationalError("INSERT", {}, inner)
    outer = MlflowException("of MLflow")
    outer.__cause__ = wrapped
    assert [is_write_failure(error) for error in (inner, wrapped, outer)] == [is_written_later] * 3
    assert not is_write_failure(ValueError("anything else"))
