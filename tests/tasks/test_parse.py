"""Texts of tasks that are slips: each is an error at once, and says what to write."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from formers.cli.options import read_seeds
from formers.lab import Arm, Study, read_study
from formers.tasks import parse


@pytest.mark.parametrize(
    "text",
    [
        "sort(length=1000000000)",
        "sort(length=1, symbols=1000000000000)",
        "sort(length=100000, symbols=100000)",
        "recall(length=1000000000)",
        "recall(vocab=1000000000000)",
        "listops(length=1000000000)",
        "listops(depth=100000)",
        "shakespeare(length=1000000000)",
        "reviews(length=1000000000)",
        "reviews(vocab=1000000000000)",
        "glue/cola(length=1000000000)",
        "a" * 16_000,
        "a/" * 8_000,
        "a" * 16_000 + "/b",
        "a.py:" * 4_000 + "(",
        "shakespeare(" + "a=b," * 8_000 + ")",
        "shakespeare(path=" + "a/" * 8_000 + ")",
    ],
)
def test_what_nobody_means_is_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises((ValueError, TypeError, OSError)):
        parse(text)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("shakespeare(path=/home/me/my.txt)", "shakespeare(path='/home/me/my.txt')"),
        ("shakespeare(path=my.txt, length=8)", "shakespeare(path='my.txt', length=8)"),
        ("shakespeare(length=8, path=~/my texts/one.txt)", "shakespeare(length=8, path='~/my texts/one.txt')"),
        ("reviews(path=/data)", "reviews(path='/data')"),
        ("glue/cola(path=./CoLA)", "glue/cola(path='./CoLA')"),
    ],
)
def test_a_path_without_quotes_is_told(text: str, quoted: str) -> None:
    with pytest.raises(ValueError, match="a path needs quotes") as caught:
        parse(text)
    assert str(caught.value).endswith(quoted)


@pytest.mark.parametrize("text", ["sort(length=)", "sort(length=-1)", "sort(symbols=1, length=3)"])
def test_other_errors_stay_as_they_are(text: str) -> None:
    with pytest.raises(ValueError, match="sort") as caught:
        parse(text)
    assert "quotes" not in str(caught.value)


def test_too_many_seeds_and_layers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="from 1 to 10,000, not 99999999"):
        read_seeds("99999999")
    assert read_seeds("2") == (0, 1)
    assert read_seeds("4,") == (4,)
    (tmp_path / "study.yaml").write_text("task: sort\nseeds: 99999999\n")
    with pytest.raises(ValueError, match="from 1 to 10,000"):
        read_study(tmp_path / "study.yaml")
    with pytest.raises(ValueError, match="at most 1,024 layers, not 5,000"):
        Study(task="sort", arms=(Arm("deep", {"depth": 5_000}),)).configs()  # type: ignore[arg-type]
