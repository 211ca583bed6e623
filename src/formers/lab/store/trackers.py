"""Rows as runs of other trackers. They stay in the study's folder as ever: these are copies, made at its end.

The trackers are accelerate's; each needs its own package. A run is an arm with a seed: its choices are the run's
configuration, its learning curve is logged at its steps, and its results and costs at the last one.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formers.lab.store.records import Results, Row
from formers.part import check_names

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

TRACKERS = ("tensorboard", "wandb", "trackio")
_COSTS = (
    "parameters",
    "flops_per_token",
    "training_flops",
    "train_seconds",
    "tokens_per_second",
    "state_bytes",
    "peak_bytes",
    "tensor_bytes",
)


def check_tracker(name: str) -> None:
    """Raise ValueError for an unknown tracker, and for one whose package is not installed."""
    check_names("formers", [name], [*TRACKERS], word="tracker")
    if find_spec(name) is None:
        raise ValueError(f"--track {name} needs the package {name}: pip install {name}")


def export(results: Results, tracker: str, folder: Path) -> None:
    """Write every row as a run of the tracker, under the arm's name with the seed and a piece of the fingerprint.

    Where rows were exported before: tensorboard's files are written anew; wandb, which knows a run by the row's
    fingerprint, goes on in the same one; trackio makes a new one each time.

    Args:
        tracker: `tensorboard`, whose files go into `folder`/tensorboard; `wandb` or `trackio`, into a project of the
            folder's name.
        folder: that of the study.

    Raises:
        ValueError: as `check_tracker`.
    """
    check_tracker(tracker)
    if tracker == "tensorboard":
        shutil.rmtree(folder / tracker, ignore_errors=True)
    for row in results.rows:
        run = _new_run(tracker, row, folder)
        run.start()
        run.store_init_configuration({"arm": row.arm, "seed": row.seed, "status": row.status, **row.choices})
        for point in row.curve:
            run.log({_label(name): value for name, value in point.values.items()}, step=point.step)
        run.log(_results(row), step=row.steps)
        run.finish()


def _label(name: str) -> str:
    """Return what a value of a curve is logged under: the loss of training batches apart from what was evaluated."""
    return "train/loss" if name == "train_loss" else f"validation/{name}"


def _new_run(tracker: str, row: Row, folder: Path) -> GeneralTracker:
    """Return a run of the tracker, not yet started."""
    from accelerate import PartialState
    from accelerate.tracking import TensorBoardTracker, TrackioTracker, WandBTracker

    PartialState()  # the trackers ask it which process writes
    # names of files hold few characters, so that those of different arms may come out alike
    apart = f", {row.fingerprint[:6]}" if row.fingerprint else ""
    name, project = f"{row.arm}, seed {row.seed}{apart}", folder.resolve().name
    if tracker == "tensorboard":
        return TensorBoardTracker(re.sub(r"[^\w.,=()-]+", "_", name), logging_dir=folder / tracker)
    if tracker == "wandb":
        return WandBTracker(project, name=name, group=row.arm, id=row.fingerprint or None, resume="allow")
    return TrackioTracker(project, name=name)


def _results(row: Row) -> dict[str, Any]:
    """Return the results on the test split and the costs, those that were measured."""
    costs = {f"cost/{name}": value for name in _COSTS if (value := getattr(row, name)) is not None}
    return {f"test/{name}": value for name, value in row.metrics.items()} | costs
