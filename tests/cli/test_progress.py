"""Long work outside of a terminal leaves a line now and then; short work leaves none."""

from __future__ import annotations

import pytest

from formers.cli import progress


def test_lines_are_seldom(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress_bars() as show:
        for done in range(1, 401):
            show("transfer", done, 400)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "transfer: 20 of 400"
    assert len(lines) == 20


def test_short_work_leaves_none(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress_bar("measuring") as show:
        show(1, 2)
        show(2, 2)
    assert capsys.readouterr().err == ""
