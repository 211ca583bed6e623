"""Budgets by size: the same on the command line, in YAML and in Python, and what is given beside them counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from formers.cli.ablate import _changed, _sized
from formers.lab import Study, read_study
from formers.lab.study.budget_size import BUDGET_SIZES, budget_size
from formers.lab.study.study import default_budget


def test_sizes_are_multiples_of_the_default(tmp_path: Path) -> None:
    study = Study(task="sort")  # type: ignore[arg-type]
    usual = default_budget(study.task)
    medium, large = (_sized(study, name) for name in ("medium", "large"))
    assert (medium.budget.steps, medium.seeds, medium.search) == (4 * usual.steps, (0, 1, 2), {})
    assert (large.budget.steps, len(large.seeds)) == (16 * usual.steps, 5)
    assert large.search["learning_rate"][1] == usual.learning_rate
    assert _sized(study, None) is study
    (tmp_path / "study.yaml").write_text("task: sort\nbudget: large\nseeds: 2\n")
    read = read_study(tmp_path / "study.yaml")
    assert (read.search, read.seeds, read.budget.steps) == (large.search, (0, 1), large.budget.steps)


def test_other_options_change_a_size() -> None:
    large = _sized(Study(task="sort"), "large")  # type: ignore[arg-type]
    changed = _changed(large, "sort", {}, "2", {}, {"learning_rate": "0.02", "steps": 7})
    assert (changed.search, changed.seeds, changed.budget.steps) == ({}, (0, 1), 7)
    assert changed.budget.learning_rate == 0.02


def test_an_unknown_size_names_the_nearest(tmp_path: Path) -> None:
    assert list(BUDGET_SIZES) == ["small", "medium", "large"]
    with pytest.raises(ValueError, match="medium"):
        budget_size("medum")
