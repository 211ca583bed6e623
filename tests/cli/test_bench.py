from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from formers.bench.json_file import load
from formers.bench.plan import BenchPlan

Run = Callable[..., Result]
TINY = ["--length", "8,16", "--width", "8", "--heads", "2", "--rounds", "3", "--phases", "forward,step"]


def test_bench_measures_and_writes(command: Run, here: Path, lawful: None) -> None:
    result = command("bench", "identity", "pool", *TINY, "--against", "identity", "--out", "found")
    assert result.exit_code == 0, result.output
    for words in (
        "Forward, at length 16",
        "One streaming step",
        "× identity",
        f"html: {here / 'found' / 'bench.html'}",
    ):
        assert words in result.output
    bench = load(here / "found" / "bench.json")
    assert len(bench.measured) == 8
    assert (here / "found" / "bench.csv").read_text().count("\n") == 9
    assert "<svg" in (here / "found" / "bench.html").read_text()


def test_without_a_folder_it_makes_one(command: Run, here: Path, lawful: None) -> None:
    assert command("bench", "identity", *TINY, "--against", "identity").exit_code == 0
    assert len(list((here / "benches").glob("*/bench.json"))) == 1


@pytest.fixture
def lawful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formers.bench.subjects.mixer.broken_laws", lambda part, site: {})


def test_nothing_timed_is_a_failure(command: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"cannot_see_the_future": "it moved by 3"}
    monkeypatch.setattr("formers.bench.subjects.mixer.broken_laws", lambda part, site: broken)
    result = command("bench", "identity", *TINY, "--against", "identity", "--out", "found")
    assert result.exit_code == 1
    assert "refused: cannot_see_the_future: it moved by 3" in result.output
    [row] = json.loads((here / "found" / "bench.json").read_text())["rows"]
    assert row["status"] == "refused"
    part = command("bench", "identity", "sdpa", *TINY, "--against", "sdpa", "--out", "found")
    assert part.exit_code == 0


def test_ctrl_c_prints_what_is_measured(
    command: Run, here: Path, lawful: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def interrupt(self: Any, text: str) -> None:
        steps.append(text)
        if len(steps) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr("formers.bench.progress.BenchLines.step", interrupt)
    result = command("bench", "identity", "pool", *TINY, "--against", "identity", "--out", "found")
    assert result.exit_code == 130
    assert "stopped before its end" in result.output
    assert load(here / "found" / "bench.json").measured


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[BenchPlan]:
    """The plans that commands would have measured."""
    plans: list[BenchPlan] = []

    def keep(plan: BenchPlan) -> None:
        plans.append(plan)
        raise ValueError("kept")

    monkeypatch.setattr("formers.cli.bench.measure", keep)
    return plans


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--quick",
        "--bidirectional",
        "softmax 'performer(features=128)' --length 512..4096 --threads 1 --device cuda:1 --seconds 12.5",
        "sdpa pip:linformer --width 64,128 --phases training --against sdpa --seed 4 --patience 3 --rounds 11 "
        "--batch 2",
    ],
)
def test_the_command_a_bench_names_means_the_same_bench(command: Run, planned: list[BenchPlan], words: str) -> None:
    command("bench", *shlex.split(words))
    command(*shlex.split(planned[0].command())[1:])
    first, second = planned
    assert second.command() == first.command()
    assert second.sweep == first.sweep
    assert [one.name for one in second.subjects] == [one.name for one in first.subjects]


def test_defaults(command: Run, planned: list[BenchPlan]) -> None:
    for words in ([], ["--quick"], ["linear", "--width", "32,64"]):
        command("bench", *words)
    full, quick, width = planned
    assert full.sweep.values == (512, 1024, 2048, 4096, 8192)
    assert (quick.sweep.values[-1], quick.rounds) == (2048, 6)
    assert (width.sweep.axis, width.sweep.length) == ("width", (1024,))
    assert [one.name for one in width.subjects] == ["softmax", "linear"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sofmax"], "did you mean 'softmax'"),
        (["softmax", "--against", "liner"], "did you mean 'linear'"),
        (["--length", "many"], "range to double through"),
        (["--length", "8,16", "--width", "8,16"], "vary one size at a time"),
        (["--width", "30"], "does not divide"),
        (["--phases", "backwards"], "phase"),
        (["--device", "tpu"], "device"),
        (["--rounds", "1"], "3 or more"),
    ],
)
def test_a_mistake_is_one_message(command: Run, words: list[str], message: str) -> None:
    result = command("bench", *words)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_help_teaches(command: Run) -> None:
    text = command("bench", "--help").output
    for words in ("formers bench --quick", "'performer(features=128)'", "Ctrl-C", "--against"):
        assert words in text
