"""Tasks of lm-evaluation-harness: found by name, asked of a model, and their results."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from formers.evaluation.harness_model import HarnessModel, Progress
from formers.evaluation.text_model import TextModel
from formers.machine.quiet_libraries import no_bars
from formers.part import check_names, seeded, shortened

_BOOTSTRAPS = 1000
"""Samples for the standard errors that have no formula."""
_SEED = 1234
"""Of the examples that stand before a question: the harness's own."""


@dataclass(frozen=True, kw_only=True)
class HarnessMetric:
    """A number that a task measures, its standard error where there is one, and whether more is better."""

    value: float
    error: float | None
    higher_is_better: bool | None


@dataclass(frozen=True, kw_only=True)
class HarnessResult:
    """A task's, or a group's, results.

    Attributes:
        metrics: name → number; a name with a filter's in brackets where the task has several.
        examples: how many were asked.
        of: how many the task has.
        shots: examples that stand before each question.
        version: the task's own, as its file says.
    """

    task: str
    metrics: dict[str, HarnessMetric]
    examples: int | None
    of: int | None
    shots: int | None
    version: str


def require_harness() -> None:
    """Raise ValueError where lm-evaluation-harness is not installed, and say how it is."""
    if find_spec("lm_eval") is None:
        raise ValueError(
            "tasks of lm-evaluation-harness need the library lm_eval, which is not installed. Install it with: "
            "pip install 'formers[eval]'"
        )


def load_tasks(names: Sequence[str], include: Sequence[Path] = (), shots: int | None = None) -> Any:
    """Return tasks as the harness runs them: by name from the folders in `include`, or from the harness's own.

    Args:
        shots: examples before each question, for tasks that do not forbid them; without it, each task's own number.

    Raises:
        FileNotFoundError: for a folder that is not there, and for data that cannot be had.
        ValueError: for an unknown name, and for a task whose file is wrong.
    """
    for folder in include:
        if not folder.is_dir():
            raise FileNotFoundError(f"--include {folder}: there is no such folder; give one with task files (.yaml)")
    manager = _manager(names, include)
    check_names("lm-evaluation-harness", list(names), manager.all_tasks, word="task")
    with _quiet():
        try:
            loaded = manager.load(list(names))
        except Exception as error:
            raise _explained(error, names) from error
    for task in loaded["tasks"].values():
        own = task.get_config("num_fewshot")
        if own is None or (shots is not None and own != 0):
            task.set_config(key="num_fewshot", value=shots or 0)
        task.set_fewshot_seed(seed=_SEED)
    return loaded


def _manager(names: Sequence[str], include: Sequence[Path]) -> Any:
    """Return the harness's list of tasks: of the folders alone where they have all names, as its own takes seconds."""
    from lm_eval.tasks import TaskManager

    paths = [str(folder.resolve()) for folder in include]
    if paths:
        local = TaskManager(include_path=paths, include_defaults=False)
        if set(names) <= set(local.all_tasks):
            return local
    return TaskManager(include_path=paths or None)


def _explained(error: Exception, names: Sequence[str]) -> Exception:
    """Return the error of a task that cannot be loaded, in words that say what to do."""
    said = shortened(" ".join(str(error).split()) or type(error).__name__, 300)
    chain = [error, error.__cause__, error.__context__]
    homes = {type(one).__module__.partition(".")[0] for one in chain if one is not None}
    if isinstance(error, FileNotFoundError) and "hub" not in said.lower():
        return FileNotFoundError(
            f"the data of {', '.join(names)} is not there: {said}. Paths in a task's file are seen from the folder in "
            "which the command runs"
        )
    if isinstance(error, OSError) or homes & {"datasets", "huggingface_hub", "httpx", "httpx2", "requests", "fsspec"}:
        return FileNotFoundError(
            f"the data of {', '.join(names)} is read from the Hugging Face hub, which did not give it: {said}. Try "
            "again with a network, or run a task on files of your own: --include FOLDER (docs/evaluation.md)"
        )
    return ValueError(f"{', '.join(names)} cannot be loaded: {type(error).__name__}: {said}")


def run_tasks(
    model: TextModel,
    loaded: Any,
    *,
    limit: int | None = None,
    answers: Path | None = None,
    progress: Progress | None = None,
) -> tuple[list[HarnessResult], int]:
    """Return the results of loaded tasks and of the groups that they are in, and how many requests were cut.

    Args:
        limit: examples of each task, at most.
        answers: the file that answers are written to as they come, and where those are found that are there already.
    """
    from lm_eval.api.model import LM, CachingLM
    from lm_eval.evaluator import evaluate

    LM.register(HarnessModel)
    asked = HarnessModel(model, progress)
    cached = None if answers is None else CachingLM(asked, str(answers))
    with _quiet(), _python_seeded(), seeded(_SEED, model.model.device):
        try:
            found = evaluate(
                asked if cached is None else cached,
                loaded,
                limit=limit,
                log_samples=False,
                bootstrap_iters=_BOOTSTRAPS,
            )
        finally:
            if cached is not None:
                cached.dbdict.close()
    return _results(found), asked.cut


def _results(found: Mapping[str, Any]) -> list[HarnessResult]:
    """Return the harness's results by task and metric."""
    return [
        HarnessResult(
            task=task,
            metrics=_metrics(values, found.get("higher_is_better", {}).get(task) or {}),
            examples=found.get("n-samples", {}).get(task, {}).get("effective"),
            of=found.get("n-samples", {}).get(task, {}).get("original"),
            shots=found.get("n-shot", {}).get(task),
            version=str(found.get("versions", {}).get(task, "")),
        )
        for task, values in found["results"].items()
    ]


def _metrics(values: Mapping[str, Any], better: Mapping[str, Any]) -> dict[str, HarnessMetric]:
    """Return the metrics among a task's values, whose keys are `metric,filter` and `metric_stderr,filter`."""
    numbers = {key.partition(",")[::2]: value for key, value in values.items() if "," in key}
    metrics = {}
    for (name, chosen), value in numbers.items():
        if name.endswith("_stderr") or not isinstance(value, (int, float)):
            continue
        error = numbers.get((f"{name}_stderr", chosen))
        shown = name if chosen in ("none", "") else f"{name} ({chosen})"
        metrics[shown] = HarnessMetric(
            value=float(value),
            error=float(error) if isinstance(error, (int, float)) else None,
            higher_is_better=better.get(name),
        )
    return metrics


@contextmanager
def _python_seeded() -> Iterator[None]:
    """Let Python's own random numbers, which tasks draw from, begin at the same place, and go on afterwards."""
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the harness and the libraries that it reads data with from printing and drawing bars of their own."""
    loud = [logging.getLogger(name) for name in ("lm_eval", "datasets", "evaluate", "httpx", "huggingface_hub")]
    levels = [logger.level for logger in loud]
    for logger in loud:
        logger.setLevel(logging.ERROR)
    try:
        with no_bars():
            yield
    finally:
        for logger, level in zip(loud, levels, strict=True):
            logger.setLevel(level)
