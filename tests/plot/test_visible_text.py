"""Control characters are shown, not acted on."""

from __future__ import annotations

from formers.plot.visible_text import visible


def test_controls_are_drawn_and_lone_surrogates_replaced() -> None:
    assert visible("a\x00\x1b[31m\u2028b\ud800") == "a␀␛[31m\nb?"


def test_line_breaks_and_tabs_stay() -> None:
    assert visible("a\n\tb") == "a\n\tb"
