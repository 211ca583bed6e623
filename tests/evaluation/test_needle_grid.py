"""Accuracy by length and depth, of a model that is known to find what lies near the end."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from formers.evaluation import needle_grid
from formers.evaluation.needle_grid import find_needles
from formers.evaluation.needle_text import NeedleText
from formers.evaluation.writing import Writing, Written
from formers.tasks.needle.facts import Hiding

from .small_models import text_model
from .test_needle_text import CODER, LINES

TEXT = NeedleText(hiding=Hiding(keys=2), lines=LINES, coder=CODER)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of prompts that a model was given, which sees the last 700 bytes of each."""
    lengths = list[int]()

    def reader(model: Any, prompts: Any, writing: Writing) -> Any:
        for number, prompt in enumerate(prompts):
            lengths.append(len(prompt))
            told = CODER.decode(prompt)
            name = told.split()[-2]
            found = re.search(rf"The secret number of {name} is (\d+)\.\n", told[-700:])
            yield number, Written(f" {found[1] if found else 0}.", False)

    monkeypatch.setattr(needle_grid, "continuations", reader)
    return lengths


def test_what_is_out_of_sight_is_not_found(asked: list[int]) -> None:
    grid = find_needles(text_model("linear"), TEXT, [600, 1200, 2400], [0.0, 0.6, 1.0], 2)
    assert grid.shares == ((1.0, 1.0, 1.0), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0))
    assert grid.accuracy == pytest.approx(6 / 9)
    assert grid.at_length(1200) == pytest.approx(2 / 3)
    assert sorted({length + TEXT.room for length in asked}) == [600, 1200, 2400]


def test_what_was_stopped_goes_on(asked: list[int], tmp_path: Path) -> None:
    model, file = text_model("linear"), tmp_path / "cells.jsonl"

    def stop(done: int, whole: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_needles(model, TEXT, [600, 1200], [0.0, 1.0], 1, file=file, progress=stop)
    assert len(asked) == 2
    file.write_text(file.read_text() + "[1200, 0.")  # killed while it was written
    grid = find_needles(model, TEXT, [600, 1200], [0.0, 1.0], 1, file=file)
    assert len(asked) == 4
    assert grid.shares == ((1.0, 1.0), (0.0, 1.0))


def test_the_model_reads_a_text_whole() -> None:
    seen, model = list[int](), text_model("linear")
    forward = model.model.model.forward

    def watched(ids: Any, *args: Any, **options: Any) -> Any:
        seen.append(ids.shape[1])
        return forward(ids, *args, **options)

    model.model.model.forward = watched
    coder: Any = SimpleNamespace(encode=_letters, decode=str, start=0, end=None)
    text = NeedleText(hiding=Hiding(), lines=["a b"], coder=coder)
    find_needles(model, text, [180], [0.5], 1)
    assert max(seen) + text.room == 180


def _letters(text: str, *, whole: bool = True) -> list[int]:
    return [ord(sign) % 29 for sign in text]
