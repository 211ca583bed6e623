"""Values in messages are short, printable, and cheap to show."""

from __future__ import annotations

from typing import Any

import pytest

from formers.part import quoted, shortened
from formers.part.quoted import LONGEST


def bomb() -> list[Any]:
    """A list that holds 10³⁰ items."""
    items: list[Any] = ["x"]
    for _ in range(30):
        items = [items] * 10
    return items


LONG = {
    "text": "x" * 10**6,
    "list": [0] * 10**6,
    "dictionary": {str(i): i for i in range(10**5)},
    "bomb": bomb(),
    "number": 10**5000,
    "controls": "\x1b]0;\u202e\ud800" * 99,
}


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_long_values_are_cut(value: Any) -> None:
    text = quoted(value)
    assert len(text) <= 2 * LONGEST + 40
    assert text.isprintable()


def test_short_values_are_their_repr() -> None:
    for value in ("a'b", 3, None, [1, "2"], {"a": 1}, 1e-5):
        assert quoted(value) == repr(value)


def test_a_shortened_text_says_how_much_is_missing() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("a" * 50 + "b" * 50, 10) == "aaaaa … (90 characters) … bbbbb"
