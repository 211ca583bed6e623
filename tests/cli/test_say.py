"""Whatever commands print goes one way, on which nothing acts on the terminal, and numbers are finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import formers.cli
from formers.cli.app import message

Run = Callable[..., Result]


def test_nothing_is_printed_another_way() -> None:
    for path in Path(formers.cli.__file__).parent.glob("*.py"):
        if path.name not in ("say.py", "__init__.py"):
            text = path.read_text(encoding="utf-8")
            assert "typer.echo(" not in text, path
            assert " print(" not in text, path


def test_errors_are_short_and_printable() -> None:
    text = message(ValueError("\x1b]0;x\x07\u202e" + "x" * 10**6))
    assert text.startswith("formers: ␛]0;x␇[U+202E]xxx")
    assert len(text) < 3500


@pytest.mark.parametrize(
    "words",
    [
        ("ablate", "sort", "--lr", "nan"),
        ("ablate", "sort", "--clip", "1e400"),
        ("ablate", "sort", "--steps", "9" * 400),
        ("train", "sort", "--seed", str(2**63)),
        ("bench", "softmax", "--patience", "nan"),
        ("bench", "softmax", "--seconds", "inf"),
        ("bench", "softmax", "--seed", "-" + "9" * 400),
        ("generate", "nowhere", "--temperature", "inf"),
        ("show", "window(4)", "--length", "9" * 400),
    ],
)
def test_numbers_are_finite(command: Run, words: tuple[str, ...]) -> None:
    result = command(*words)
    assert result.exit_code == 2
    assert "must be a" in result.output


def test_what_was_typed_is_shown_safely(command: Run) -> None:
    for words in (["\x1b[31m"], ["list", "\x1b[31m"], ["ablate", "sort", "\x1b[31m"], ["ablate", "sort", "--\x1b[31m"]):
        result = command(*words)
        assert result.exit_code == 2
        assert "\x1b" not in result.output


@pytest.mark.parametrize("arm", ["[/x]: mixer=sofmax", "\udcff: mixer=softmax", "a: mixer=" + "~" * 10**4 + "every"])
def test_wrong_arms_end_in_one_short_error(command: Run, arm: str) -> None:
    result = command("ablate", "sort", "--arm", arm)
    assert result.exit_code == 2
    assert result.output.startswith("formers: ")
    assert len(result.output) < 1500
