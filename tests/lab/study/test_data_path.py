"""A study whose text has a relative path is gone on with from any folder, and is the same study there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab import Study, read_study, run
from formers.lab.study.folder import open_folder
from formers.lab.train.progress import Silent

TASK = "shakespeare(length=16, path='data/words.txt')"


@pytest.fixture
def relative(one_arm: Study, small_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study made in `home`, which holds its text."""
    (tmp_path / "home" / "data").mkdir(parents=True)
    (tmp_path / "home" / "data" / "words.txt").write_bytes(small_text.read_bytes())
    monkeypatch.chdir(tmp_path / "home")
    return replace(one_arm, task=TASK, directory=Path.cwd())


class Began(Silent):
    """Counts the arms that train."""

    def __init__(self) -> None:
        self.arms = 0

    def begin(self, label: str, steps: int) -> None:
        self.arms += 1


def trains_from(folder: Path, study: Study, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(folder)
    began = Began()
    run(read_study(study.folder / "study.yaml"), began)
    return began.arms


def test_it_goes_on_from_another_folder(relative: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(relative)
    (tmp_path / "away").mkdir()
    assert trains_from(tmp_path / "away", relative, monkeypatch) == 0
    assert trains_from(tmp_path / "home", relative, monkeypatch) == 0
    (tmp_path / "home" / "data").rename(relative.folder / "data")  # beside the study, as when both are copied
    assert trains_from(tmp_path / "away", relative, monkeypatch) == 0


def test_the_text_of_the_study_is_meant(relative: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another text of that name, in the folder in which one happens to be, is another text."""
    with open_folder(relative, print):
        pass
    (tmp_path / "away" / "data").mkdir(parents=True)
    (tmp_path / "away" / "data" / "words.txt").write_text("another text. " * 99)
    monkeypatch.chdir(tmp_path / "away")
    again = read_study(relative.folder / "study.yaml")
    assert again == relative
    assert again.checked_task.data_hash == relative.checked_task.data_hash


def test_a_missing_text_is_named(relative: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder(relative, print):
        pass
    (tmp_path / "home" / "data" / "words.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no text file at data/words\.txt"):
        run(read_study(relative.folder / "study.yaml"))
