"""Control characters are shown, not acted on."""

from __future__ import annotations

from formers.plot.visible_text import visible, visible_line


def test_controls_are_drawn_and_lone_surrogates_replaced() -> None:
    assert visible("a\x00\x1b[31m\u2028b\ud800") == "a␀␛[31m\nb?"


def test_line_breaks_and_tabs_stay() -> None:
    assert visible("a\n\tb") == "a\n\tb"


def test_controls_of_eight_bits_and_changes_of_direction_are_drawn() -> None:
    assert visible("a\x9b31m\u202eb\u2066c\u200f") == "a[U+009B]31m[U+202E]b[U+2066]c[U+200F]"
    assert (
        visible("\u05e9\u05dc\u05d5\u05dd \u4f60\u597d \U0001f469\u200d\U0001f52c")
        == "\u05e9\u05dc\u05d5\u05dd \u4f60\u597d \U0001f469\u200d\U0001f52c"
    ), "words and joined signs stay"


def test_a_line_stays_one() -> None:
    assert visible_line("a\nb\tc\u2028d") == "a␊b c␊d"
