"""CSV: texts stay texts, numbers numbers."""

from __future__ import annotations

import csv
import io

import pytest

from formers.plot.csv_file import csv_text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", "=cmd|'/c calc'!A0"])
def test_no_text_is_a_formula(text: str) -> None:
    [header, row] = csv.reader(io.StringIO(csv_text([text], [[text]])))
    assert header == row == ["'" + text]


def test_numbers_stay_numbers() -> None:
    assert csv_text(["n"], [[-1], [-1.5e-7], [None], [float("inf")]]) == 'n\n-1\n-1.5e-07\n""\ninf\n'


def test_controls_are_drawn_and_other_texts_stay() -> None:
    assert csv_text(["a", "b"], [["\x1b[31m\u202e", 'x, "y"\nz']]) == 'a,b\n␛[31m[U+202E],"x, ""y""\nz"\n'
