"""Options that do nothing beside others are refused, by every command, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from typer.testing import Result

from formers.cli.app import app
from formers.cli.idle_options import EXCLUDED, NEEDED

Run = Callable[..., Result]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
VALUES = {"cores": "2", "transfer_rate": "0.1", "tune_rate": "0.1", "task": "glue/cola", "mixer": "linear"}
"""Values of options that take more than a text or a number; others get 32."""


def words(command: str, *names: str, **values: str) -> list[str]:
    """A command line with these options."""
    options = {option.name: option for option in COMMANDS[command].params}
    line = [command, "model"]
    for name in (*names, *values):
        line.append(options[name].opts[0])
        if not options[name].is_flag:
            line.append(values.get(name) or VALUES.get(name, "32"))
    return line


def rules() -> Iterator[tuple[list[str], str]]:
    """Command lines with an idle option, and what is said of it."""
    for command, needed in NEEDED.items():
        shown = {option.name: option.opts[0] for option in COMMANDS[command].params}
        for option, other in needed.items():
            if next(one for one in COMMANDS[command].params if one.name == other).default is None:
                yield words(command, option), f"{shown[option]} does nothing without {shown[other]}; leave it out"
            else:
                given = words(command, option, **{other: "0"})
                yield given, f"{shown[option]} does nothing with {shown[other]} 0; leave it out"
    for command, excluded in EXCLUDED.items():
        shown = {option.name: option.opts[0] for option in COMMANDS[command].params}
        for option, idle in excluded.items():
            for name in idle:
                yield words(command, option, name), f"{shown[name]} does nothing with {shown[option]}; leave one"


@pytest.mark.parametrize(("line", "said"), [*rules()], ids=lambda it: " ".join(it) if isinstance(it, list) else "")
def test_an_idle_option_is_refused(line: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formers.cli.app.load", lambda libraries: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=said):
        COMMANDS[line[0]].main(line[1:], standalone_mode=False)


@pytest.mark.parametrize(
    "line", [words("ablate", "cores", "ray"), words("adapt", "examples", "task"), words("repair", "tune_rate", "rank")]
)
def test_an_option_with_what_it_needs_is_not(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded(Exception):
        pass

    def load(libraries: object) -> None:
        raise Loaded

    monkeypatch.setattr("formers.cli.app.load", load)
    with pytest.raises(Loaded):
        COMMANDS[line[0]].main(line[1:], standalone_mode=False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["ablate", "sort", "--search-seeds", "7,8"], "--search-seeds does nothing without a search"),
        (["show", "linear", "--length", "32"], "--length is of a picture"),
        (["show", "recurrent(length=64)", "--length", "32"], "--length is of a picture"),
    ],
)
def test_an_option_that_the_argument_makes_idle_is_refused(command: Run, line: list[str], said: str) -> None:
    done = command(*line)
    assert done.exit_code == 2
    assert said in done.output


def test_the_code_of_a_part_with_options_is_shown(command: Run) -> None:
    shown = command("show", "window(4)", "--code").output
    assert "class Window(Pattern)" in shown
    assert command("show", "window(4)").output in shown
