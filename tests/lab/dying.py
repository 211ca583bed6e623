"""Studies that are killed at chosen moments, then started again: `python dying.py TEXT DATABASE FOLDER MOMENT…` prints
what came out.

Everything heavy is imported once; each study runs in a process of its own, forked from this one, and dies by SIGKILL.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 (so that no child has to import it)
import torch
from mlflow.tracking import MlflowClient
from torch.utils.data import Dataset

import formers.lab.report.html
import formers.lab.run_study
import formers.lab.train.best_weights
import formers.lab.train.checkpoint
from formers.lab import Arm, Budget, Row, Study, run
from formers.lab.train.progress import Silent
from formers.lab.train.trainer import SafeTrainer
from formers.tasks.shakespeare import Shakespeare
from formers.tasks.task import Example

FINITE = 6


class Heard(Silent):
    """What a study told."""

    def __init__(self) -> None:
        self.began, self.notes = list[str](), list[str]()

    def begin(self, label: str, steps: int) -> None:
        self.began.append(label)

    def note(self, text: str) -> None:
        self.notes.append(text)


class Epochs(Dataset[Example]):
    """Six examples again and again, in another order each time: example i is a function of the seed and i, and
    nothing else."""

    def __init__(self, examples: Dataset[Example], seed: int, count: int) -> None:
        self.examples, self.seed, self.count = examples, seed, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        epoch, place = divmod(index, FINITE)
        return self.examples[random.Random(f"{self.seed}/{epoch}").sample(range(FINITE), FINITE)[place]]


class Finite(Shakespeare):
    """Shakespeare with six training examples."""

    def build(self, seed: int, count: int) -> Dataset[Example]:
        return Epochs(super().build(seed, FINITE), seed, count)


class Contiguous(Shakespeare):
    """Shakespeare in contiguous segments; its arms have a memory that is carried on from step to step."""


MOMENTS: dict[str, tuple[Any, str, int]] = {
    "in a step": (SafeTrainer, "training_step", 4),
    "in a step of the second arm": (SafeTrainer, "training_step", 15),
    "between a checkpoint's files": (SafeTrainer, "_save_optimizer_and_scheduler", 2),
    "before a checkpoint is sealed": (formers.lab.train.checkpoint, "_made_with", 3),
    "before older checkpoints go": (formers.lab.train.checkpoint, "_remove_old", 3),
    "while the best weights are written": (formers.lab.train.best_weights, "flush_to_disk", 2),
    "while the model is saved": (Shakespeare, "save", 1),
    "while a row is saved": (MlflowClient, "log_text", 1),
    "after a row is saved": (formers.lab.run_study, "remove_checkpoints", 1),
    "between arms": (Heard, "begin", 2),
    "while the report is written": (formers.lab.report.html, "render_html", 1),
}
"""Before which call of what the process dies."""


def dies_at(owner: Any, name: str, call: int) -> None:
    original, calls = getattr(owner, name), 0

    def counted(*given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given, **options)

    setattr(owner, name, counted)


def begun(work: Callable[[], None]) -> int:
    """The number of a new process that does some work and ends."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def in_a_process(work: Callable[[], None]) -> int:
    """The signal that ended a process which did some work; 0 where it ended by itself."""
    _, status = os.waitpid(begun(work), 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a study failed")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def study(text: str, folder: Path, task: type[Shakespeare]) -> Study:
    arms = (Arm("softmax", {"mixer": "softmax"}), Arm("identity", {"mixer": "identity"}))
    if task is Contiguous:
        arms = (Arm("none", {"position": "xl"}), Arm("recurrent", {"position": "xl", "memory": "recurrent(length=24)"}))
    return Study(
        task=task(length=16, path=text, contiguous=task is Contiguous),
        base={"width": 16, "depth": 1, "heads": 2, "position": "learned", "dropout": 0.1},
        arms=arms,
        budget=Budget(steps=8, batch_size=2, evaluations=4),
        folder=folder,
    )


def outcome(row: Row) -> dict[str, Any]:
    """What has to be the same, to the bit."""
    values = [[point.step, point.values] for point in row.curve]
    return {
        "arm": row.arm,
        "status": row.status,
        "metrics": row.metrics,
        "step": row.chosen_step,
        "values": values,
        "samples": row.samples,
    }


def ran(given: Study) -> None:
    heard = Heard()
    rows = run(given, heard).rows
    facts = {"began": heard.began, "notes": heard.notes, "rows": [outcome(row) for row in rows]}
    (given.folder / "facts.json").write_text(json.dumps(facts))


def main() -> None:
    text, database, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    report: dict[str, Any] = {}

    def made(name: str, task: type[Shakespeare]) -> Study:
        given = study(text, folder / f"{task.__name__}-{name.replace(' ', '-')}", task)
        given.folder.mkdir(parents=True)
        shutil.copy(database, given.folder / "mlflow.db")
        return given

    late = ["in a step of the second arm"]
    for task, moments in ((Shakespeare, sys.argv[4:]), (Finite, late), (Contiguous, late)):
        whole = made("whole", task)
        in_a_process(partial(ran, whole))
        for moment in moments:
            given = made(moment, task)

            def doomed(given: Study = given, moment: str = moment) -> None:
                dies_at(*MOMENTS[moment])
                ran(given)

            report[given.folder.name] = {"signal": in_a_process(doomed), "then": in_a_process(partial(ran, given))}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
