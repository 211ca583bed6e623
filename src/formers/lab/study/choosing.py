"""The choice of a search: for each arm, the alternatives that did best on validation; of a larger one, its front."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from formers.lab.store.records import Row
from formers.lab.store.trials import front_of, mean_validation, thinned, trial_key
from formers.lab.study.candidates import Candidate, candidates, chosen_candidate
from formers.lab.study.cost_limits import COST_OF
from formers.lab.study.study import Study
from formers.tasks.task import digest


def best_candidates(study: Study, rows: Sequence[Row]) -> dict[str, Candidate]:
    """Return arm name → its candidate with the best validation metric, the mean over the seeds of the search.

    A candidate that failed with some seed is not taken while another has not; where all have, the first one is.
    """
    found = mean_validation(rows, study.task.metric)
    sign = 1 if study.task.metric.lower_is_better else -1

    def loss(candidate: Candidate) -> float:
        return sign * found.get(trial_key(candidate.arm.name, candidate.options), sign * math.inf)

    return {arm.name: min(candidates(study, arm), key=loss) for arm in study.arms}


def front_candidates(study: Study, rows: Sequence[Row]) -> list[Candidate]:
    """Return the trials of a larger search that are ranked: of its front, at most as many as its space says."""
    if study.space is None:
        return []
    front = front_of(rows, study.task.metric, COST_OF[study.space.cost])
    options = {row.arm: row.options for row in rows}
    return [chosen_candidate(study, name, options[name]) for name in thinned(front, study.space.front)]


def search_id(study: Study) -> str:
    """Return a name for the larger search of a study: of all that decides which trials it has, but for their number."""
    facts = study.to_dict()
    for name in ("arms", "seeds", "eval_lengths", "trials", "front"):
        facts.pop(name, None)
    return digest([json.dumps(facts, sort_keys=True)])[:16]


def front_text(study: Study, rows: Sequence[Row]) -> str:
    """Return which trials are on the front of a larger search, in a line."""
    if study.space is None:
        return ""
    front = front_of(rows, study.task.metric, COST_OF[study.space.cost])
    ranked = thinned(front, study.space.front)
    cut = f", of which {', '.join(ranked)} are ranked" if len(ranked) < len(front) else ""
    seeds = ", ".join(map(str, study.seeds))
    on_front = f"on the front of quality against {study.space.cost}: {', '.join(front) or 'no trial'}"
    return f"search: {on_front}{cut}, with seeds {seeds}"


def taken_text(taken: Mapping[str, Candidate]) -> str:
    """Return what arms have taken, in a line: `search: softmax takes learning_rate=0.003; …`."""
    told = [
        f"{arm} takes {', '.join(f'{name}={value}' for name, value in it.options.items())}"
        for arm, it in taken.items()
        if it.options
    ]
    return f"search: {'; '.join(told)}"
