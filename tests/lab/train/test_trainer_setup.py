from __future__ import annotations

from typing import Any

import pytest
from transformers import TrainingArguments

from formers.lab import Study
from formers.lab.plan.jobs import plan_jobs
from formers.lab.train import trainer_setup
from formers.lab.train.callback import TrainingCallback
from formers.lab.train.crash_counter import TrainingAttempt
from formers.lab.train.initial_weights import seeded_model
from formers.lab.train.job import Job
from formers.lab.train.progress import Silent
from formers.lab.train.stop import Stop


@pytest.mark.parametrize("in_sight", [0, 1, 2, 8])
def test_one_process_takes_one_batch_however_many_gpus_are_in_sight(
    one_arm: Study, in_sight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer gives each GPU in sight a batch, and their copies of the model are not of its class."""

    def arguments(**given: Any) -> TrainingArguments:
        made = TrainingArguments(**given)
        made._n_gpu = in_sight
        return made

    monkeypatch.setattr(trainer_setup, "TrainingArguments", arguments)
    [job] = plan_jobs(one_arm)
    assert isinstance(job, Job)
    callback = TrainingCallback(job, Silent(), Stop(), TrainingAttempt(job.checkpoint_folder))
    trainer = trainer_setup.make_trainer(job, seeded_model(job.task, job.config, job.seed), callback)
    assert trainer.args.n_gpu == min(in_sight, 1)
    assert trainer.args.train_batch_size == job.budget.batch_size
    assert len(trainer.get_train_dataloader()) == job.budget.steps
