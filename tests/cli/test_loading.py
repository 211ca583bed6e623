"""What is said while libraries load."""

from __future__ import annotations

import sys

import pytest

from formers.cli.loading import load


def test_a_terminal_shows_what_loads_and_is_clean_afterwards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    load(("colorsys", "colorsys"))
    assert "colorsys" in sys.modules
    first, *cleared = capsys.readouterr().err.split("\r")
    assert first == "loading colorsys …"
    assert cleared == [" " * len(first), ""]


def test_elsewhere_nothing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    load(("colorsys",))
    assert capsys.readouterr().err == ""
