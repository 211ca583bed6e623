"""Larger searches: trials drawn by Optuna from a space, a few at a time, from the results of those before them."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from formers.lab.plan.jobs import untrained_row
from formers.lab.plan.trial_costs import excess_text, excesses
from formers.lab.plan.trial_models import TrialModels
from formers.lab.store.records import Row
from formers.lab.store.trials import mean_validation, trial_key, trial_name
from formers.lab.study.arm import Arm
from formers.lab.study.candidates import Candidate
from formers.lab.study.choosing import search_id
from formers.lab.study.cost_limits import COST_OF
from formers.lab.study.study import Study
from formers.lab.train.job import Job

if TYPE_CHECKING:
    import optuna

_IN_VAIN = 100
"""Draws in a row without a new trial to train, after which there is nothing left to look for."""
_IMPOSSIBLE = 1.0
"""Excess over every limit that the sampler is told of what cannot be built."""


def check_optuna() -> None:
    """Raise ModuleNotFoundError, with what to install, where Optuna is missing."""
    if find_spec("optuna") is None:
        raise ModuleNotFoundError(
            "a search draws its trials with Optuna, which is not installed: pip install 'formers[search]'"
        )


@dataclass(kw_only=True)
class _Drawn:
    """A trial that trains: Optuna's, its costs, and its validation metric once it is known (None: it has none)."""

    trial: optuna.Trial
    candidate: Candidate
    costs: Mapping[str, Any]
    value: float | None = None
    told: bool = False


class SampledSearch:
    """The larger search of a study, trial by trial.

    Every trial follows from the study and from the results of the trials before it, and from nothing else: it is drawn
    by a sampler with a seed of its own. So a search that was broken off is drawn again from its start, and takes the
    results that its rows have; no other file remembers it.

    Attributes:
        search_id: the name of the search in its rows.
        trained: trials that train, or did.
    """

    def __init__(self, study: Study, keep: bool = True) -> None:
        """Begin the search of a study. `keep` is whether measured latencies are kept in its folder."""
        check_optuna()
        import optuna

        assert study.space is not None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        direction = optuna.study.StudyDirection
        quality = direction.MINIMIZE if study.task.metric.lower_is_better else direction.MAXIMIZE
        self.study, self.space, self.search_id = study, study.space, search_id(study)
        self._models = TrialModels(study, keep)
        self._optuna = optuna.create_study(directions=[quality, direction.MINIMIZE])
        self._drawn: dict[str, _Drawn] = {}
        self._refused: dict[str, Mapping[str, float]] = {}
        self._waiting: list[_Drawn] = []
        self._again: list[tuple[optuna.Trial, _Drawn]] = []
        self._in_vain = 0

    @property
    def trained(self) -> int:
        """The number of trials that train, or did."""
        return len(self._drawn)

    def draw(self) -> list[Job | Row]:
        """Return the jobs of the next trials, and the rows of those beyond a limit; nothing at the end of the search.

        The trials of before must have been told.
        """
        entries: list[Job | Row] = []
        while (
            self.trained < self.space.trials and len(self._waiting) < self.space.together and self._in_vain < _IN_VAIN
        ):
            found = self._draw_one()
            self._in_vain = 0 if found and isinstance(found[0], Job) else self._in_vain + 1
            entries += found
        return entries

    def tell(self, rows: Sequence[Row]) -> None:
        """Take the results of the trials that were drawn last, and of those that are the same again."""
        values = mean_validation(rows, self.study.task.metric)
        for it in self._waiting:
            it.value = values.get(trial_key(it.candidate.arm.name, it.candidate.options))
            self._tell(it.trial, it)
            it.told = True
        for trial, it in self._again:
            self._tell(trial, it)
        self._waiting, self._again = [], []

    def _draw_one(self) -> list[Job | Row]:
        """Return the jobs of one more trial; its row where it is not trained, nothing where it is known already."""
        trial = self._ask()
        options = self.space.draw(trial)
        name = trial_name(trial.number)
        key = repr(sorted(options.items()))
        if known := self._drawn.get(key):
            if known.told:
                self._tell(trial, known)
            else:
                self._again.append((trial, known))
            return []
        if (beyond := self._refused.get(key)) is not None:
            self._prune(trial, beyond)
            return []
        job = self._models.job(name, options)
        if isinstance(job, ValueError):
            self._refused[key] = dict.fromkeys(self.space.under, _IMPOSSIBLE)
            self._prune(trial, self._refused[key])
            candidate = Candidate(arm=Arm(name), budget=self.study.budget, options=options)
            return [self._row(candidate, "unsupported", job, {})]
        candidate = Candidate(arm=job.arm, budget=job.budget, options=options)
        costs = self._models.costs(job, self.space.under)
        if told := excess_text(costs, self.space.under):
            self._refused[key] = excesses(costs, self.space.under)
            self._prune(trial, self._refused[key])
            return [self._row(candidate, "pruned", f"not trained: {told}", costs)]
        self._drawn[key] = _Drawn(trial=trial, candidate=candidate, costs=costs)
        self._waiting.append(self._drawn[key])
        found = replace(job, is_search=True, search_id=self.search_id, latency_seconds=costs.get("latency_seconds"))
        return [replace(found, seed=seed) for seed in self.study.search_seeds]

    def _ask(self) -> optuna.Trial:
        """Return Optuna's next trial, from a sampler whose seed is the trial's own."""
        import optuna

        number = len(self._optuna.get_trials(deepcopy=False))
        seed = random.Random(f"{self.study.search_seeds[0]}/{number}").getrandbits(32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the sampler's way with trials that wait is called experimental
            self._optuna.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=True)
            return self._optuna.ask()

    def _tell(self, trial: optuna.Trial, it: _Drawn) -> None:
        """Tell the sampler a result; that a trial has none, where it did not finish."""
        if it.value is None:
            self._prune(trial, excesses(it.costs, self.space.under))
            return
        spent = it.costs[COST_OF[self.space.cost]]
        self._limit(trial, excesses(it.costs, self.space.under))
        self._optuna.tell(trial, [it.value, 0.0 if spent is None else spent])

    def _prune(self, trial: optuna.Trial, beyond: Mapping[str, float]) -> None:
        """Tell the sampler that a trial has no result, and by how much it is beyond each limit."""
        import optuna

        self._limit(trial, beyond)
        self._optuna.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def _limit(self, trial: optuna.Trial, beyond: Mapping[str, float]) -> None:
        for name, excess in beyond.items():
            if math.isfinite(self.space.under[name]):
                trial.set_constraint(name, excess)

    def _row(self, candidate: Candidate, status: Any, reason: object, costs: Mapping[str, Any]) -> Row:
        """Return the row of a trial that is not trained."""
        facts = [self.search_id, candidate.arm.name]
        row = untrained_row(self.study, candidate, self.study.search_seeds[0], reason, facts)
        counted = {name: value for name, value in costs.items() if value is not None}
        return replace(row, status=status, is_search=True, search_id=self.search_id, **counted)
