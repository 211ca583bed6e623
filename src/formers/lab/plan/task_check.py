"""What concerns every arm of a study, checked before any trains: its task's data, examples and references."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from formers.lab.store.records import Row
from formers.lab.study.study import Study
from formers.lab.train.job import Job
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
    task, (seed, *_) = study.checked_task, study.seeds
    for length in study.tested_lengths:
        task.at_length(length)
    if task.data_hash != task.data_hash:
        raise wrong_result(study.task, "data_hash", "is another one each time; it must depend on the data only")
    examples, again = (_first_examples(study, seed) for _ in range(2))
    _check_batch(study, examples, [entry for entry in plan if isinstance(entry, Job) and entry.seed == seed])
    for index, (first, second) in enumerate(zip(examples, again, strict=True)):
        if any(not torch.equal(first[name], second[name]) for name in first):
            raise wrong_result(
                study.task,
                "build",
                f"returned another example {index} the second time, so arms would not see the same data; draw random "
                "numbers from random.Random(f'{seed}/{index}'), as formers.tasks.task.Generated does",
            )
    return task.references()


def _check_batch(study: Study, examples: list[Example], jobs: Sequence[Job]) -> None:
    """Raise TaskError where no arm can take the examples; one that alone cannot is a row of its own."""
    errors = []
    for job in jobs:
        with torch.device("meta"):
            model = study.checked_task.model(job.config)
        try:
            Collator(study.task, model)(examples)
            return
        except TaskError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _first_examples(study: Study, seed: int) -> list[Example]:
    """Return the first examples of an arm's training data."""
    budget = study.budget
    data = study.checked_task.build(seed, budget.steps * budget.batch_size, budget.batch_size)
    return [data[index] for index in range(min(_TRIED, budget.batch_size, len(data)))]
