from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab import Arm, Stopped, Study
from formers.lab.store.folder import folder_of
from formers.lab.store.write_error import WriteError, writing
from formers.lab.train.progress import Silent


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def entered(study: Study) -> list[str]:
    notes = Notes()
    with folder_of(study, notes):
        assert Study.from_yaml(study.place / "study.yaml") == study
    return notes.said


def test_more_arms_and_seeds_are_the_same_study(one_arm: Study, small: Study) -> None:
    assert entered(one_arm) == []
    assert entered(one_arm) == []
    assert entered(replace(small, seeds=(0, 1))) == []
    assert not list(small.place.glob("study-*.yaml"))


@pytest.mark.parametrize(
    "change",
    [
        lambda study: replace(study, budget=replace(study.given, steps=9)),
        lambda study: replace(study, task="sort"),
        lambda study: replace(study, arms=(Arm("pool", {"mixer": "pool(window=2)"}),)),
    ],
)
def test_another_study_is_put_aside(small: Study, change: Callable[[Study], Study]) -> None:
    entered(small)
    [note] = entered(change(small))
    [aside] = small.place.glob("study-*.yaml")
    assert f"formers ablate {aside}" in note
    assert Study.from_yaml(aside) == small
    assert entered(Study.from_yaml(aside)) != []  # and back


@pytest.mark.parametrize("text", ["task: [", "3", "from: the future", ""])
def test_a_description_that_cannot_be_read_is_put_aside(small: Study, text: str) -> None:
    (small.place / "study.yaml").write_text(text)
    assert len(entered(small)) == 1
    [aside] = small.place.glob("study-*.yaml")
    assert aside.read_text() == text


def test_how_to_go_on(small: Study, tmp_path: Path) -> None:
    spaced = replace(small, folder=tmp_path / "my study")
    command = rf"Go on with: formers ablate '{tmp_path}/my study/study.yaml'"
    full = pytest.raises(WriteError, match=rf"cannot keep x in y: No space left on device\n.*{command}")
    with full, folder_of(spaced, Silent()), writing("x", "y"):
        raise OSError(28, "No space left on device")
    with pytest.raises(Stopped, match=f"stopped at once.*{command}"), folder_of(spaced, Silent()):
        raise KeyboardInterrupt
    with pytest.raises(Stopped, match=r"^as asked$"), folder_of(spaced, Silent()):
        raise Stopped("as asked")
