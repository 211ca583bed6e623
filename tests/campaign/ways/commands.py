"""The command line, in this process; what a command would run for long is planned, and not run."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import typer
from typer.testing import CliRunner

from campaign import grammar, mutate
from campaign.stand import model_folder, stand
from campaign.verdict import DECLARED, Refused, Unclear, is_deliberate, must_equal, unprintable, unusable
from campaign.ways.way import way
from formers.cli import app as command_line
from formers.lab import Study, read_study, write_study
from formers.lab.plan.jobs import plan_jobs
from formers.lab.study.command_line import study_command

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def invoke(words: list[str]) -> None:
    """Run a command. Raise the error that it turned into a message, or `Refused` where its parser refused it."""
    errors: list[Exception] = []
    message = command_line.message

    def heard(error: Exception) -> str:
        errors.append(error)
        return message(error)

    with patch.object(command_line, "message", heard):
        done = CliRunner().invoke(command_line.app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    said = _COLOUR.sub("", done.output).replace("\r\n", "\n")
    if done.exit_code == 2 and said.startswith("Usage:"):
        raise Refused(said)
    if "Traceback (most recent" in said or unprintable(said):
        raise Unclear(unprintable(said) or said[-300:])
    if errors and isinstance(errors[0], DECLARED) and is_deliberate(errors[0]):  # what counts is what was printed
        raise Unclear(problem) if (problem := unusable(said)) else Refused(said)
    if errors:
        raise errors[0]
    if done.exit_code:
        raise Refused(said) if said.strip() else Unclear(f"exit code {done.exit_code}, and nothing was said")


def _words(*choices: tuple[str, ...]) -> Any:
    """Return a maker of command lines: one of these, with one or two of its words damaged, or options added."""

    def make(rng: Random) -> list[str]:
        words = [_filled(rng, word) for word in rng.choice(choices)]
        for _ in range(rng.choice((0, 0, 1, 2))):
            at = rng.randrange(1, len(words))
            words[at] = rng.choice((words[at], mutate.a_text(rng, words[at]), rng.choice(mutate.TEXTS)))
            if rng.random() < 0.15:
                words.insert(at, rng.choice(mutate.TEXTS))
        return [word.replace("\0", "") for word in words]  # no system hands over such a word

    return make


def _filled(rng: Random, word: str) -> str:
    """Return a word with `<axis>` replaced by a text of a part, and with the places of the stand."""
    for axis in ("mixer", "position", "pattern", "task"):
        word = word.replace(f"<{axis}>", grammar.part_text(rng, axis)) if f"<{axis}>" in word else word
    number = rng.choice(("1", "2", "3", "8", str(rng.choice(mutate.NUMBERS))[:420]))
    return word.replace("<number>", number)


_ABLATE = (
    ("ablate", "sort(length=4)", "--vary", "mixer=softmax,<mixer>", "--steps", "<number>"),
    ("ablate", "<task>", "--arm", "a: mixer=<mixer>, depth=2", "--base", "position=<position>", "--seeds", "2"),
    ("ablate", "recall", "--arm", "mixer=<mixer>", "--match", "parameters", "--lr", "<number>", "--warmup", "<number>"),
    ("ablate", "sort", "--width", "<number>", "--heads", "2", "--length", "<number>", "--seeds", "<number>"),
    ("ablate", "listops", "--folder", "here", "--batch", "<number>", "--clip", "<number>", "--evaluations", "<number>"),
    ("ablate", "sort", "--vary", "mixer=softmax,<mixer>", "--lr", "1e-3,<number>", "--search-seeds", "<number>"),
    ("ablate", "sort", "--budget", "medium", "--stages", "<number>", "--clip", "<number>,1.0", "--seeds", "2"),
    ("ablate", "sort", "--device", "cpu", "--precision", "bf16", "--accumulate", "<number>", "--checkpointing"),
    ("ablate", "text(tokens=bytes)", "--vary", "task.length=16,<number>", "--arm", "a: mixer={<mixer>, linear}"),
    ("train", "sort", "mixer=<mixer>", "depth=<number>", "--seed", "<number>", "--lr", "<number>"),
    ("train", "sort(length=4)", "position=<position>", "causal=false", "--batch", "<number>"),
)


def _planned(study: Study, executor: object = None, track: str | None = None) -> None:
    """Plan a study instead of running it; its command line and its file mean the same study."""
    if len(study.arms) <= 8 and study.match != "time" and len(study.seeds) <= 8:
        plan_jobs(study)
    write_study(study, Path("study.yaml"))
    must_equal("study.yaml", read_study("study.yaml").to_dict(), study.to_dict())
    again: list[Study] = []
    with patch("formers.cli.ablate.run_and_show", lambda study, executor=None, track=None: again.append(study)):
        done = CliRunner().invoke(command_line.app, shlex.split(study_command(study))[1:])
    must_equal("its command", again[0].to_dict() if again else done.output, study.to_dict())
    raise typer.Exit


@way("formers ablate, train", 60, _words(*_ABLATE))
def enter_ablate(words: list[str], folder: Path) -> None:
    with (
        patch("formers.cli.ablate.run_and_show", _planned),
        patch("formers.cli.train.run_and_show", _planned),
    ):
        invoke(words)


_BENCH = (
    ("bench", "<mixer>", "--length", "8,16", "--width", "16", "--heads", "2"),
    ("bench", "softmax", "pip:linformer", "--length", "8..64", "--phases", "forward,step"),
    ("bench", "sdpa", "--against", "<mixer>", "--rounds", "<number>", "--seconds", "<number>"),
    ("bench", "linear", "--width", "<number>", "--batch", "1,2", "--patience", "<number>", "--threads", "<number>"),
    ("bench", "linear", "--quick", "--device", "cpu", "--seed", "<number>", "--bidirectional"),
)


def _measured(plan: object) -> None:
    raise typer.Exit


@way("formers bench", 30, _words(*_BENCH))
def enter_bench(words: list[str], folder: Path) -> None:
    with patch("formers.cli.bench.measure", _measured):
        invoke(words)


_SHOW = (
    ("show", "<pattern>", "--length", "12"),
    ("show", "<mixer>", "--length", "<number>"),
    ("show", "longformer(window=[4])", "--length", "8", "--png", "out.png"),
    ("show", "linear", "--code"),
    ("list", "mixer"),
    ("list", "pattern", "--help"),
    ("ui", "study", "--port", "<number>"),
)


@way("formers show, list, ui", 30, _words(*_SHOW))
def enter_show(words: list[str], folder: Path) -> None:
    with patch("formers.cli.ui.has_page", lambda: False), patch("os.execv", _measured):
        invoke(words)


@cache
def _places() -> tuple[str, str]:
    return str(stand() / "study"), str(model_folder())


def _generate(rng: Random) -> list[str]:
    words = ["generate", "<model>", "--prompt", rng.choice(("the", "q", "\n", "")), "--tokens", rng.choice("123")]
    words += ["--temperature", rng.choice(("0", "0.8", "<number>")), "--seed", rng.choice(("0", "<number>"))]
    made: list[str] = _words(tuple(words))(rng)
    return made


@way("formers generate", 20, _generate)
def enter_generate(words: list[str], folder: Path) -> None:
    invoke([_places()[1] if word == "<model>" else word for word in words])


_REPORT = (
    ("report", "<study>", "--html", "a.html", "--csv", "a.csv", "--json", "a.json"),
    ("report", "<study>", "<study>", "--markdown", "a.md", "--html", "b.html"),
    ("report", "here", "--html", "there/a.html"),
)


@way("formers report", 20, _words(*_REPORT))
def enter_report(words: list[str], folder: Path) -> None:
    with patch("typer.launch", _measured):
        invoke([_places()[0] if word == "<study>" else word for word in words])
