from __future__ import annotations

import random

import pytest

from formers.tasks import Listops, splits
from formers.tasks.splits import first_of, side_of


def test_the_first_example_of_a_split_is_found() -> None:
    stream = random.Random(0)
    found = [first_of("test", lambda: (str(number := stream.random()), number), "a task") for _ in range(20)]
    assert all(side_of(str(number)) == "test" for number in found)
    again = random.Random(0)
    drawn = [again.random() for _ in range(2000)]
    assert found == [number for number in drawn if side_of(str(number)) == "test"][:20]


def test_a_split_without_examples_ends_the_search() -> None:
    with pytest.raises(ValueError, match=r"parity: of 100,000 examples .* none is one for train"):
        first_of("train", lambda: None, "parity")
    content = next(str(number) for number in range(1000) if side_of(str(number)) == "test")
    with pytest.raises(ValueError, match="none is one for validation"):
        first_of("validation", lambda: (content, content), "parity")


def test_lists_that_hardly_ever_come_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_TRIES", 1000)
    with pytest.raises(ValueError, match=r"listops\(length=748.*choose other sizes"):
        Listops(length=748).draw(random.Random(0), "validation")
