"""What concerns every arm of a study, checked before any trains: its task's data, examples and references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from formers.lab.store.records import Row
from formers.lab.study.study import Study
from formers.lab.train.job import Job
from formers.tasks.checks.checked_task import CheckedTask
from formers.tasks.checks.examples import Collator
from formers.tasks.checks.task_error import TaskError, wrong_result
from formers.tasks.task import Example

_TRIED = 4
"""Examples that are compared."""


def check_task(study: Study, plan: Sequence[Job | Row]) -> dict[str, float]:
    """Return the task's references, after checking that its data and examples are the same in every call.

    Raises:
        ValueError: where its data cannot be tested on at a length of the study.
        TaskError: where an arm could not be trained, whichever it is, or where arms would not see the same data.
    """
    for length in study.tested_lengths:
        study.checked_task.at_length(length)
    jobs = [entry for entry in plan if isinstance(entry, Job) and entry.seed == study.seeds[0]]
    tasks = dict.fromkeys(job.task for job in jobs)
    _check_data(study, tasks)
    for task in tasks or [study.checked_task]:
        _check_examples(study, task, [job for job in jobs if job.task == task])
    return study.checked_task.references()


def _check_data(study: Study, tasks: Iterable[CheckedTask]) -> None:
    """Raise TaskError where the hash of the data changes, from call to call or from arm to arm."""
    known = study.checked_task.data_hash
    if known != study.checked_task.data_hash:
        raise wrong_result(study.task, "data_hash", "is another one each time; it must depend on the data only")
    for task in tasks:
        if task.data_hash != known:
            why = "though arms may choose such options; they may change how the data are read, and not the data"
            raise wrong_result(study.task, "data_hash", f"is another one for {task.task}, {why}")


def _check_examples(study: Study, task: CheckedTask, jobs: Sequence[Job]) -> None:
    """Raise TaskError where none of the jobs, which train on this task, can take its examples, or where they change."""
    examples, again = (_first_examples(study, task) for _ in range(2))
    _check_batch(task, examples, jobs)
    for index, (first, second) in enumerate(zip(examples, again, strict=True)):
        if any(not torch.equal(first[name], second[name]) for name in first):
            raise wrong_result(
                task.task,
                "build",
                f"returned another example {index} the second time, so arms would not see the same data; draw random "
                "numbers from random.Random(f'{seed}/{index}'), as formers.tasks.task.Generated does",
            )


def _check_batch(task: CheckedTask, examples: list[Example], jobs: Sequence[Job]) -> None:
    """Raise TaskError where no arm can take the examples; one that alone cannot is a row of its own."""
    errors = []
    for job in jobs:
        with torch.device("meta"):
            model = task.model(job.config)
        try:
            Collator(task.task, model)(examples)
            return
        except TaskError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _first_examples(study: Study, task: CheckedTask) -> list[Example]:
    """Return the first examples of an arm's training data."""
    budget = study.budget
    data = task.build(study.seeds[0], budget.steps * budget.batch_size, budget.batch_size)
    return [data[index] for index in range(min(_TRIED, budget.batch_size, len(data)))]
