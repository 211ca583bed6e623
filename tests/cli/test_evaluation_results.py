"""Names of results, and what is kept of hours of answers where results cannot be written."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import Result

from formers.cli.app import app
from formers.cli.evaluate import evaluate
from formers.cli.evaluation_results import file_stem
from formers.evaluation.needle_grid import NeedleGrid

Run = Callable[..., Result]
SAME_RESULTS = {"folder", "batch", "device", "as_json", "parts"}
"""Options that change where or how fast results are made, and none of them."""
OTHERS = {
    "model": ["--folder=results"],
    "tasks": ["--tasks=b"],
    "include": ["--include=mine"],
    "limit": ["--limit=3"],
    "shots": ["--shots=0"],
    "length": ["--length=64"],
    "lengths": ["--lengths=1k"],
    "depths": ["--depths=3"],
    "each": ["--each=2"],
    "keys": ["--keys=2"],
    "values": ["--values=2"],
    "hops": ["--hops=1"],
    "text": ["--text=words.txt"],
    "mixer": ["--mixer=window(64)"],
    "layers": ["--mixer=window(64)", "--layers=0"],
    "gguf": ["--gguf=a.gguf"],
    "precision": ["--precision=bf16"],
}
BASE = {"eval": ["--tasks=a"], "needle": []}


@dataclass
class Result_:
    task: str = "a"


@pytest.fixture
def asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models that answer at once, whose results lie in `place`."""
    from formers.cli import evaluate, needle

    place = here / "place"
    model = SimpleNamespace(model=None, coder=None)

    def answer(file: Path) -> None:
        file.write_text("hours of answers")

    def grid(*given: Any, file: Path, **options: Any) -> NeedleGrid:
        answer(file)
        return NeedleGrid(lengths=(1,), depths=(0.0,), each=1, shares=((0.5,),))

    def tasks(*given: Any, answers: Path, **options: Any) -> tuple[list[Any], int]:
        answer(answers)
        return [Result_()], 0

    for name, stub in {
        "formers.cli.app.load": lambda libraries: None,
        "formers.cli.evaluated_model.open_text_model": lambda *given, **options: (model, place),
        "formers.cli.evaluated_model.check_length": lambda *given: None,
        "formers.cli.evaluation_results.evaluation_report": lambda *given: {},
        "formers.evaluation.fingerprint.answers_key": lambda *given: "key",
        "formers.evaluation.harness.require_harness": lambda: None,
        "formers.evaluation.harness.load_tasks": lambda *given: [],
        "formers.evaluation.harness.run_tasks": tasks,
        "formers.evaluation.needle_grid.find_needles": grid,
        "formers.cli.needle_image.save_needle_grid": lambda *given: None,
    }.items():
        monkeypatch.setattr(name, stub)
    monkeypatch.setattr(needle, "_show", lambda *given: None)
    monkeypatch.setattr(evaluate, "_show", lambda *given: None)
    return place / "evaluation"


@pytest.mark.parametrize("name", ["eval", "needle"])
def test_every_option_that_changes_results_changes_their_name(name: str, asked: Path) -> None:
    command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {one.name for one in command.params} - SAME_RESULTS

    def run(model: str, *words: str) -> None:
        command.main([model, *BASE[name], *words], standalone_mode=False)

    for option in sorted(options):
        run("one", *OTHERS[option])
    run("other", *OTHERS["model"])
    run("one")
    run("one", "--batch=2")
    made = [*asked.iterdir(), *asked.parents[1].joinpath("results").iterdir()]
    assert len(made) == len(options) + 2  # of two models in one folder, and with defaults
    assert all(file.suffix == ".json" for file in made)  # answers that are in results are not kept


@pytest.mark.parametrize("name", ["eval", "needle"])
def test_on_a_full_disk_answers_and_former_results_are_kept(
    name: str, asked: Path, command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(name, "one", *BASE[name]).exit_code == 0
    [results] = asked.iterdir()
    before = results.read_text()

    def full(*given: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("formers.machine.files.flush_to_disk", full)
    done = command(name, "one", *BASE[name])
    assert done.exit_code == 2
    assert f"cannot keep the results in {results}: No space left" in done.output
    assert results.read_text() == before
    [kept] = {*asked.iterdir()} - {results}
    assert kept.read_text() == "hours of answers"


def test_names_show_what_differs_and_are_never_those_of_others() -> None:
    def stem(what: str = "arc_easy", **chosen: object) -> str:
        return file_stem(what, evaluate, **chosen)

    assert stem() == "arc_easy"
    assert stem(shots=5, limit=None, precision="fp32") == "arc_easy-shots5"
    assert stem("a+b", limit=10, precision="bf16") == "a+b-limit10-precision-bf16"
    window = stem(mixer="window(64) | sinks(4)")
    assert window.startswith("arc_easy-mixer-window-64-sinks-4-")
    assert window != stem(mixer="window(64) & sinks(4)")
    assert stem(include=[Path("a/tasks")]).startswith("arc_easy-include-tasks-")
    assert stem(include=[Path("a/tasks")]) != stem(include=[Path("b/tasks")])
    long = [stem("x" * 300 + end) for end in "ab"]
    assert long[0] != long[1]
    assert max(len(name.encode()) for name in [*long, stem("é" * 300)]) < 200
