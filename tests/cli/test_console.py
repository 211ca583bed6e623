"""What is printed to a file or a pipe is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import formers.cli
from formers.catalogue import members
from formers.cli.console import table_console
from formers.mixers import Mixer
from formers.plot.fitting_table import FittingColumn, FittingTable


def test_a_pipe_gets_every_column_and_cell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"the heading of column {n}" for n in range(40)]
    table = FittingTable(columns=[FittingColumn(title=name, text=not n, spare=n) for n, name in enumerate(names)])
    table.add_row(["a long name " * 30, *map(str, names[1:])])
    table_console().print(table)
    printed = capsys.readouterr().out
    assert "no room" not in printed
    assert all(name in printed for name in names)
    assert "a long name " * 29 in printed
    assert len(max(printed.splitlines(), key=len)) < 5_000  # filled up to no more than its own width


def test_lists_are_not_broken_into_lines(command: Any) -> None:
    lines = command("list", "mixer").output.splitlines()
    assert len([line for line in lines if line.strip()]) == 1 + len(members(Mixer))
    assert max(map(len, lines)) > 80


def test_no_command_has_a_console_of_its_own_for_tables() -> None:
    files = Path(formers.cli.__path__[0]).glob("*.py")
    own = [path.stem for path in files if "Console()" in path.read_text(encoding="utf-8")]
    assert own == []
