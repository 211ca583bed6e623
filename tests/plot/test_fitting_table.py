"""Tables in terminals of any width: names and numbers are whole, or their column is not there."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from formers.plot.fitting_table import FittingColumn, FittingTable

NAME = "linear, taylor2 [red]"


def shown(width: int, name: str = NAME) -> str:
    table = FittingTable(
        title="a study",
        caption="what it says",
        columns=[
            FittingColumn(title="#"),
            FittingColumn(title="arm", text=True),
            FittingColumn(title="test loss (bits/character)"),
            FittingColumn(title="parameters", spare=1),
            FittingColumn(title="training time", spare=2),
        ],
    )
    table.add_row(["1", name, "2.837 ± 0.057", "157 k", "17.8 s"])
    table.add_row(["2", "x", "3.837 ± 0.057", "157 k", "117.8 s"])
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120])
def test_names_and_numbers_are_whole(width: int) -> None:
    text = shown(width)
    assert NAME in text
    assert "2.837 ± 0.057" in text
    assert "bits/character" in text
    assert "what it says" in text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_the_least_wanted_columns_go_first_and_are_named() -> None:
    wide, medium, narrow = shown(100), shown(70), shown(55)
    assert "no room" not in wide
    assert "117.8 s" in wide
    assert "no room here for: training time" in medium
    assert "157 k" in medium
    assert "no room here for: parameters, training time" in narrow
    assert "157 k" not in narrow


def test_a_name_that_is_wider_than_the_terminal_is_folded() -> None:
    text = shown(50, name="a very long name " * 5)
    assert "…" not in text
    assert text.count("very long name") + text.count("very") >= 5
