from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from formers.lab import Arm, Study, read_study
from formers.lab.study.folder import open_folder


def entered(study: Study) -> list[str]:
    notes: list[str] = []
    with open_folder(study, notes.append):
        assert read_study(study.folder / "study.yaml") == study
    return notes


def test_more_arms_and_seeds_are_the_same_study(one_arm: Study, small: Study) -> None:
    assert entered(one_arm) == []
    assert entered(one_arm) == []
    assert entered(replace(small, seeds=(0, 1))) == []
    assert not list(small.folder.glob("study-*.yaml"))


@pytest.mark.parametrize(
    "change",
    [
        lambda study: replace(study, budget=replace(study.budget, steps=9)),
        lambda study: replace(study, task="sort"),
        lambda study: replace(study, arms=(Arm("pool", {"mixer": "pool(window=2)"}),)),
    ],
)
def test_another_study_is_put_aside(small: Study, change: Callable[[Study], Study]) -> None:
    entered(small)
    [note] = entered(change(small))
    [aside] = small.folder.glob("study-*.yaml")
    assert f"formers ablate {aside}" in note
    assert read_study(aside) == small
    assert entered(read_study(aside)) != []  # and back


@pytest.mark.parametrize("text", ["task: [", "3", "from: the future", ""])
def test_a_description_that_cannot_be_read_is_put_aside(small: Study, text: str) -> None:
    (small.folder / "study.yaml").write_text(text)
    assert len(entered(small)) == 1
    [aside] = small.folder.glob("study-*.yaml")
    assert aside.read_text() == text
