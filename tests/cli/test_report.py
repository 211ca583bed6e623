"""`formers report` and `formers ui`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import Result

import formers.cli.ui
import formers.lab.study.study
from formers.lab import Arm, Budget, Store, Study, write_study
from formers.lab.report import dump, load
from formers.lab.report.study_results import study_results
from formers.lab.store.lock import is_in_use, lock_folder
from formers.lab.store.records import Results, Row
from formers.lab.study.newest import number_opening

Run = Callable[..., Result]


@pytest.fixture
def study(here: Path) -> Study:
    """A study of two arms that was stopped: one row is in its store."""
    found = Study(
        task="shakespeare(length=16, path='words.txt')",
        arms=(Arm("softmax", {"mixer": "softmax"}), Arm("linear", {"mixer": "linear"})),
        budget=Budget(steps=4, batch_size=2),
        folder=here / "study",
    )
    write_study(found, here / "study" / "study.yaml")
    Store(here / "study", "formers/study").save(row(found, "softmax", 2.0))
    return found


def row(study: Study, arm: str, value: float) -> Row:
    metrics = {study.task.metric.name: value}
    return Row(arm=arm, seed=0, status="finished", metrics=metrics, config={}, fingerprint=f"{arm} {value}")


def kept(study: Study, folder: Path, **changes: object) -> Results:
    """A finished study in a folder, as its report.json."""
    found = replace(study_results(study, (row(study, "softmax", 2.5), row(study, "linear", 3.0)), {}), **changes)  # type: ignore[arg-type]
    dump(found, folder / "report.json")
    return found


def test_a_stopped_study_has_a_report_of_what_is_stored(command: Run, study: Study, here: Path) -> None:
    done = command("report", "study", "--csv", "runs.csv", "--json", "all.json", "--markdown", "ranking.md")
    assert done.exit_code == 0, done.output
    assert f"report: {here / 'study' / 'report.html'}" in done.output
    assert "softmax" in (here / "study" / "report.html").read_text()
    assert [row.arm for row in load(here / "all.json").rows] == ["softmax"]
    assert "softmax" in (here / "runs.csv").read_text()
    assert (here / "ranking.md").read_text().startswith("“softmax” reached a test loss of 2.000")


def test_the_store_is_newer_than_the_last_report(command: Run, study: Study, here: Path) -> None:
    kept(study, here / "study")
    assert command("report", "study", "--json", "all.json").exit_code == 0
    values = {row.arm: row.metrics[study.task.metric.name] for row in load(here / "all.json").rows}
    assert values == {"softmax": 2.0, "linear": 3.0}


def test_studies_are_merged_into_a_page_here(command: Run, study: Study, here: Path) -> None:
    kept(study, here / "other", budget="9 steps")
    done = command("report", "study", "other", "--json", "both.json")
    assert done.exit_code == 0, done.output
    assert (here / "report.html").is_file()
    assert {row.arm for row in load(here / "both.json").rows} == {"softmax (study)", "softmax (other)", "linear"}


def test_a_page_is_drawn_again_from_the_json_of_a_study_that_is_gone(command: Run, study: Study, here: Path) -> None:
    kept(study, here / "other")
    (here / "other" / "report.json").rename(here / "kept.json")
    done = command("report", "kept.json", "--html", "again.html", "--json", "again.json")
    assert done.exit_code == 0, done.output
    assert "linear" in (here / "again.html").read_text()
    assert (here / "again.json").read_text() == (here / "kept.json").read_text()
    merged = command("report", "study", "kept.json", "--json", "both.json")
    assert merged.exit_code == 0, merged.output
    assert {row.arm for row in load(here / "both.json").rows} == {"softmax (study)", "softmax (kept.json)", "linear"}


def test_what_cannot_be_reported_is_said(command: Run, study: Study, here: Path) -> None:
    kept(study, here / "other", title="another task")
    (here / "page.html").touch()
    for words, said in (
        (["study", "other"], "same task"),
        (["nowhere"], "there is no folder nowhere"),
        ([], "no study in studies/"),
        (["empty"], "there is no study in empty"),
        (["nothing.json"], "there is no file nothing.json"),
        (["page.html"], "holds no rows"),
    ):
        (here / "empty").mkdir(exist_ok=True)
        done = command("report", *words)
        assert done.exit_code == 2
        assert said in done.output


def test_the_newest_study_is_meant_and_opened(
    command: Run, study: Study, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", opened.append)
    monkeypatch.setattr(formers.lab.study.study, "STUDIES_FOLDER", here)
    (here / "old").mkdir()
    (here / "old" / "study.yaml").touch()
    unknown = command("report")  # both are of a version that gave studies no numbers
    assert unknown.exit_code == 2
    assert f"name one: {here / 'old'}, {here / 'study'}" in unknown.output
    number_opening(here / "old")
    number_opening(study.folder)
    for path in (here / "old").iterdir():
        os.utime(path, (2**32, 2**32))  # times of files mean nothing
    assert command("report", "--open").exit_code == 0
    assert opened == [str(here / "study" / "report.html")]


def test_a_study_that_was_moved_is_found(command: Run, study: Study, here: Path) -> None:
    (here / "moved").mkdir()
    (here / "study").rename(here / "moved" / "renamed")
    assert command("report", "moved/renamed", "--json", "all.json").exit_code == 0
    assert [row.arm for row in load(here / "all.json").rows] == ["softmax"]


def test_the_ui_is_mlflows(command: Run, study: Study, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: ran.append(words))
    monkeypatch.setattr(formers.cli.ui, "has_page", lambda: True)
    assert command("ui", "study", "--port", "5050").exit_code == 0
    uri = f"sqlite:///{here / 'study' / 'mlflow.db'}"
    assert ran == [[sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--port", "5050"]]


def test_the_ui_says_what_is_missing(command: Run, study: Study, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formers.cli.ui, "has_page", lambda: False)
    missing = command("ui", "study")
    assert missing.exit_code == 1
    assert "pip install 'formers[ui]'" in missing.output
    (here / "empty").mkdir()
    assert command("ui", "empty").exit_code == 2


def test_watching_writes_the_page_with_each_row_until_the_study_ends(
    command: Run, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is seen held three times; a second row comes before the third look."""
    held = iter([True, True, True, False])
    pages: list[str] = []
    page = study.folder / "report.html"

    def asleep(seconds: float) -> None:
        pages.append(page.read_text())
        if len(pages) == 2:
            Store(study.folder, "formers/study").save(row(study, "linear", 2.5))

    monkeypatch.setattr("formers.lab.store.lock.is_in_use", lambda folder: next(held))
    monkeypatch.setattr("formers.cli.watch.time.sleep", asleep)
    done = command("report", str(study.folder), "--watch")
    assert done.exit_code == 0, done.output
    assert [line.partition(";")[0] for line in done.output.splitlines() if "so far" in line] == [
        "1 run so far",
        "2 runs so far",
    ]
    assert all('http-equiv="refresh"' in text for text in pages)
    assert "linear" in pages[2]
    assert 'http-equiv="refresh"' not in page.read_text()


def test_a_lock_is_seen_from_outside_and_left_as_it_is(here: Path) -> None:
    (here / "study").mkdir(exist_ok=True)
    assert not is_in_use(here / "study")
    with lock_folder(here / "study"):
        held = (here / "study" / ".lock").read_text()
        assert is_in_use(here / "study")
        assert (here / "study" / ".lock").read_text() == held
    assert not is_in_use(here / "study")


def test_the_ranking_as_latex(command: Run, study: Study, here: Path) -> None:
    done = command("report", str(study.folder), "--latex", "ranking.tex")
    assert done.exit_code == 0, done.output
    assert r"\begin{tabular}" in (here / "ranking.tex").read_text()
