"""The choice of a search: for each arm, the alternatives that did best on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from formers.lab.store.records import Row
from formers.lab.store.trials import mean_validation, trial_key
from formers.lab.study.candidates import Candidate, candidates
from formers.lab.study.study import Study


def best_candidates(study: Study, rows: Sequence[Row]) -> dict[str, Candidate]:
    """Return arm name → its candidate with the best validation metric, the mean over the seeds of the search.

    A candidate that failed with some seed is not taken while another has not; where all have, the first one is.
    """
    found = mean_validation(rows, study.task.metric)
    sign = 1 if study.task.metric.lower_is_better else -1

    def loss(candidate: Candidate) -> float:
        return sign * found.get(trial_key(candidate.arm.name, candidate.options), sign * math.inf)

    return {arm.name: min(candidates(study, arm), key=loss) for arm in study.arms}


def taken_text(taken: Mapping[str, Candidate]) -> str:
    """Return what arms have taken, in a line: `search: softmax takes learning_rate=0.003; …`."""
    told = [
        f"{arm} takes {', '.join(f'{name}={value}' for name, value in it.options.items())}"
        for arm, it in taken.items()
        if it.options
    ]
    return f"search: {'; '.join(told)}"
