"""Studies killed before each of their file operations and at random moments, then gone on with and compared.

A kill is SIGKILL: no handler runs, nothing is flushed. The study is that of `tests/lab/dying.py`, with fewer steps;
each run is a process of its own, forked from this one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from campaign.fuzz import until
from campaign.stand import stand
from formers.lab import Study
from formers.tasks import Shakespeare

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))
from dying import begun, ran, study

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
_PASSING = ("*.part", "*.tmp*", "checkpoints/*", "models/.*", "**/.*.part", "*-journal")
"""Files that are there while a study runs, and no longer."""

Death = Callable[[Study], bool]
"""Runs a study until it is killed; False where it ended before."""


@dataclass(frozen=True)
class Kill:
    """A study that was killed, and gone on with: when, how often, and what was different in the end, if anything."""

    moment: str
    times: int
    problem: str


def kill_everywhere(
    folder: Path, at_random: int, seed: int, most: int | None = None, end: float = inf
) -> tuple[list[Kill], str]:
    """Return what came of killing a study before each of its file operations, or `most` of them, drawn at random, and
    a longer one at random moments; and what was left out when the monotonic clock came to `end`, in words."""
    rng = Random(seed)
    tiny, longer = _study(folder / "tiny", steps=3), _study(folder / "longer", steps=8)
    operations, _ = _undisturbed(tiny)
    chosen = list(enumerate(operations, 1))
    chosen = chosen if most is None else sorted(rng.sample(chosen, most))
    rng.shuffle(chosen)  # where time ends, what was reached is of all parts of a run
    kills = [_killed(tiny, f"before {what} ({n})", [partial(_dies_before, n)]) for n, what in until(end, chosen)]
    left = (
        [f"kills before {len(chosen) - len(kills)} of {len(chosen)} file operations"]
        if len(kills) < len(chosen)
        else []
    )
    _, seconds = _undisturbed(longer) if at_random and time.monotonic() < end else ([], 0.0)
    while at_random > 0 and time.monotonic() < end:
        moments = [rng.uniform(0, seconds) for _ in range(rng.choice((1, 1, 2)))]
        words = f"after {' and '.join(f'{moment:.3f}' for moment in moments)} s"
        kills.append(_killed(longer, words, [partial(_dies_after, moment) for moment in moments]))
        at_random -= max(kills[-1].times, 1 if kills[-1].problem else 0)
    left += [f"{at_random} kills at random moments"] if at_random > 0 else []
    return [kill for kill in kills if kill.times or kill.problem], " and ".join(left)


def _study(folder: Path, steps: int) -> Study:
    given = study(str(stand() / "words.txt"), folder, Shakespeare)
    return replace(given, budget=replace(given.budget, steps=steps, evaluations=2))


def _fresh(given: Study, folder: Path) -> Study:
    """Return a study in a new folder, with a database without rows."""
    folder.mkdir(parents=True)
    shutil.copy(stand() / "empty" / "mlflow.db", folder / "mlflow.db")
    return replace(given, folder=folder)


def _undisturbed(given: Study) -> tuple[list[str], float]:
    """Run a study that nothing kills. Return its file operations, in words, and the seconds that it took."""
    log = given.folder.with_name(f"{given.folder.name}.log")
    whole, began = _fresh(given, given.folder), time.monotonic()

    def noted() -> None:
        with log.open("w") as file:
            _watch(whole.folder, lambda what, first: file.write(what + "\n"))
            ran(whole)

    if _code(begun(noted)):
        raise RuntimeError(f"the study in {given.folder} does not end by itself")
    return log.read_text().splitlines(), time.monotonic() - began


def _watch(folder: Path, told: Callable[[str, Callable[[], object]], object]) -> None:
    """Call `told` before each operation on the files of a folder and each commit of a database, and once more for a
    file that is opened: with what leaves it as it is between being opened and being written."""
    home = str(folder)

    def heard(name: str, given: tuple[Any, ...]) -> None:
        if name == "open" and isinstance(given[0], (str, bytes)) and given[2] & _WRITING:
            place = os.path.abspath(os.fsdecode(given[0]))
        elif name in _CHANGES:
            place = os.fsdecode(given[1] if name == "os.rename" else given[0])
            within = -1 not in given[1:] and name in ("os.remove", "os.rmdir")  # of rmtree: relative to a descriptor
            place = f"{home}/…/{place}" if within else os.path.abspath(place)
        else:
            return
        if not place.startswith(home) or (name == "os.mkdir" and os.path.isdir(place)):
            return
        told(f"{name} {place.removeprefix(home + '/')}", lambda: None)
        if name == "open":
            told(f"writing {place.removeprefix(home + '/')}", lambda: os.open(place, given[2] & ~os.O_EXCL, 0o600))

    sys.addaudithook(heard)
    event.listen(Engine, "commit", lambda connection: told("a commit", lambda: None))


def _dies_before(number: int, given: Study) -> bool:
    """Run a study that dies before its `number`-th operation."""
    left = count(number, -1)

    def dies(what: str, first: Callable[[], object]) -> None:
        if next(left) == 1:
            first()
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        _watch(given.folder, dies)
        ran(given)

    return _code(begun(work)) == -signal.SIGKILL


def _dies_after(seconds: float, given: Study) -> bool:
    """Run a study that is killed after some seconds."""
    child = begun(partial(ran, given))
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return _code(child) == -signal.SIGKILL


def _code(child: int) -> int:
    """Return how a process ended: its code, or the negative number of a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed(whole: Study, moment: str, deaths: list[Death]) -> Kill:
    """Kill a study, once or more, go on with it, and compare it with the whole one."""
    with tempfile.TemporaryDirectory(dir=whole.folder.parent) as name:
        given = _fresh(whole, Path(name) / "study")
        times = sum(death(given) for death in deaths)
        kept = _kept_arms(given.folder)
        code = _code(begun(partial(ran, given)))
        problems = (
            [f"started again, it ended with {code}"] if code else [*_differences(whole.folder, given.folder, kept)]
        )
    return Kill(moment, times, "; ".join(problems))


def _kept_arms(folder: Path) -> set[str]:
    """Return the arms whose row is safe, as a copy of the database has them."""
    with tempfile.TemporaryDirectory() as name:
        for path in folder.glob("mlflow.db*"):
            shutil.copy(path, name)
        with closing(sqlite3.connect(Path(name) / "mlflow.db")) as database:
            return {arm for (arm,) in database.execute("SELECT name FROM runs WHERE status = 'FINISHED'")}


def _differences(whole: Path, again: Path, kept: set[str]) -> Iterator[str]:
    """Yield what is different between a study that was left alone and one that was killed and gone on with."""
    facts = [json.loads((folder / "facts.json").read_text()) for folder in (whole, again)]
    if facts[0]["rows"] != facts[1]["rows"]:
        yield "the rows differ"
    if twice := kept & set(facts[1]["began"]):
        yield f"trained again, though kept: {', '.join(sorted(twice))}"
    weights = [{p.parent.name: p.read_bytes() for p in f.glob("models/*/model.safetensors")} for f in (whole, again)]
    if weights[0] != weights[1] or not weights[0]:
        yield "the weights differ"
    if left := sorted({str(path.relative_to(again)) for pattern in _PASSING for path in again.rglob(pattern)}):
        yield f"left behind: {', '.join(left)}"
    names = [{str(p.relative_to(f)) for p in f.rglob("*") if "artifacts" not in p.parts} for f in (whole, again)]
    if names[0] != names[1]:
        yield f"other files: {', '.join(sorted(names[0] ^ names[1]))}"
