"""The models of a search's trials before they train, each built and counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from formers.lab.plan.jobs import first_job
from formers.lab.plan.trial_costs import costs_before_training
from formers.lab.study.candidates import chosen_candidate
from formers.lab.study.choices import choices_text
from formers.lab.study.study import Study
from formers.lab.train.job import Job
from formers.tasks.checks.task_error import TaskError

if TYPE_CHECKING:
    from formers.models import TransformerConfig


class TrialModels:
    """Configurations and costs by the choices of a trial: those that differ in the budget alone share them."""

    def __init__(self, study: Study, keep: bool) -> None:
        """Begin with none. `keep` is whether measured latencies are kept in the study's folder."""
        self._study, self._keep = study, keep
        self._configs: dict[str, TransformerConfig | ValueError] = {}
        self._costs: dict[str, dict[str, Any]] = {}

    def job(self, name: str, options: Mapping[str, str]) -> Job | ValueError:
        """Return the job of a trial, or why its values do not go together, such as a width that heads do not divide."""
        try:
            candidate = chosen_candidate(self._study, name, options)
            choices = choices_text(candidate.arm.swaps)
            if choices not in self._configs:
                self._configs[choices] = self._study.built_config(candidate.arm)
            config = self._configs[choices]
            return config if isinstance(config, ValueError) else first_job(self._study, candidate, config)
        except TaskError:
            raise
        except ValueError as error:
            return error

    def costs(self, job: Job, under: Mapping[str, float]) -> dict[str, Any]:
        """Return the costs of a job's model, as `costs_before_training`."""
        choices = choices_text(job.arm.swaps)
        if choices not in self._costs:
            self._costs[choices] = costs_before_training(job, under, self._keep)
        return self._costs[choices]
