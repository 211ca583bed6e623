from __future__ import annotations

from formers.tasks.checks.values import shown


class Counting:
    """An item that counts how often it is written."""

    written = 0

    def __repr__(self) -> str:
        type(self).written += 1
        return "item"


def test_a_message_about_a_long_list_writes_a_few_items_only() -> None:
    text = shown([Counting()] * 100_000)
    assert Counting.written < 100
    assert text.endswith("(list)")
    assert len(text) < 100


def test_halves_of_surrogate_pairs_are_escaped() -> None:
    shown("\ud800").encode("utf-8")
    shown({"\ud800": 1}).encode("utf-8")
