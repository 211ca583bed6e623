"""A forecast counts what training will cost, writes nothing, and says what cannot train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from formers.cli.dry_run import show_forecast
from formers.lab import Arm, Budget, Study
from formers.lab.plan import step_time
from formers.lab.plan.forecast import forecast, total_seconds
from formers.lab.study.study import Match


def study(folder: Path) -> Study:
    return Study(
        task="sort(length=6)",
        base={"width": 16, "depth": 1, "heads": 2},
        arms=(Arm("softmax", {"mixer": "softmax"}), Arm("fourier", {"mixer": "fourier"}), Arm("two", {"depth": 2})),
        budget=Budget(steps=50, batch_size=4),
        seeds=(0, 1, 2),
        folder=folder / "study",
    )


def test_costs_are_known_before_training(tmp_path: Path) -> None:
    softmax, fourier, two = forecast(study(tmp_path))
    assert (softmax.runs, softmax.tried, softmax.problem) == (3, "", "")
    assert softmax.parameters is not None
    assert two.parameters is not None
    assert two.memory_bytes is not None
    assert softmax.memory_bytes is not None
    assert two.parameters > softmax.parameters
    assert two.memory_bytes > softmax.memory_bytes > 16 * softmax.parameters
    assert softmax.step_seconds is not None
    assert softmax.seconds == softmax.step_seconds * 50 * 3
    assert total_seconds([softmax, two]) == softmax.seconds + two.seconds
    assert (fourier.runs > 0) == (not fourier.problem)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("match", get_args(Match))
def test_nothing_is_written(match: Match, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_time, "_ROUNDS", 1)
    arms = (Arm("softmax", {"mixer": "softmax"}), Arm("identity", {"mixer": "identity"}))
    shown = replace(study(tmp_path), arms=arms, match=match)
    assert all(not it.problem for it in forecast(shown))
    assert [*tmp_path.iterdir()] == []


def test_a_search_is_counted(tmp_path: Path, capsys: object) -> None:
    given = replace(study(tmp_path), arms=study(tmp_path).arms[:1], search={"learning_rate": (1e-3, 3e-3)})
    found = list(forecast(given))
    assert [(it.tried, it.runs) for it in found] == [("learning_rate=0.001", 1), ("learning_rate=0.003", 1), ("", 3)]
    assert found[0].step_seconds == found[1].step_seconds == found[2].step_seconds


def test_a_forecast_is_a_table(tmp_path: Path, capsys: object) -> None:
    show_forecast(study(tmp_path))
    text = capsys.readouterr().out  # type: ignore[attr-defined]
    assert "two" in text
    assert "Nothing was written" in text
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("match", ["steps", "time"])
def test_a_forecast_says_who_is_given_so_many_steps(
    tmp_path: Path, match: Match, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_time, "measure_relative_step_time", lambda *given: 2.0)
    show_forecast(replace(study(tmp_path), arms=study(tmp_path).arms[::2], match=match))
    text = " ".join(capsys.readouterr().out.split())
    is_of_base = "the base is given 50 steps" in text and "the others as many steps as take the same time" in text
    assert is_of_base == (match == "time")
    assert "50 steps × 4 × " in text
