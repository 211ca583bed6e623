"""The page of benchmarks: it is made of the results, and its numbers can be read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.harness import Row, table  # noqa: E402
from benchmarks.report import PAGE, Results, page  # noqa: E402


def test_the_page_is_what_the_results_say() -> None:
    assert PAGE.read_text() == page()


def test_its_contents_lead_to_its_sections() -> None:
    text = page()
    titles = re.findall(r"^## (.*)$", text, re.M)
    assert re.findall(r"^\| \[(.*?)\]\(#", text, re.M) == titles
    assert titles[0] == "Crossover lengths"


def test_amounts_are_in_the_unit_that_keeps_them_short() -> None:
    (line,) = table([Row("a", "b", 1966.2, 38.1, "c", 0.75, spread=(893.0, 2012.0))]).splitlines()[2:]
    assert line == "| a | b | 1.97 s (0.893–2.01) | c | 38.1 ms | 51.61 | ≥ 1.33 × less | **no** |"
    (line,) = table([Row("a", "b", 8.82, 2620.0, "c", unit="KiB")]).splitlines()[2:]
    assert line == "| a | b | 8.82 KiB | c | 2.56 MiB | 0.0034 |"
    assert not re.search(r"\de[+-]\d", page())


def test_what_is_not_measured_is_not_told_as_missed() -> None:
    rows = [Row("a", setting, None, None, "c", 1.0) for setting in "bd"]
    section = Results("gpu", "On a GPU", "Notes.", {"device": "none yet"}, rows).section
    assert "2 targets, none measured yet" in section
    assert "0 of" not in section
