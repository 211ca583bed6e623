"""What a study matches is matched to its first arm, whatever is tried, ranked or left out of a search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from formers.lab import Arm, Study
from formers.lab.plan import step_time
from formers.lab.plan.jobs import plan_jobs, plan_search
from formers.lab.plan.matching import cost_of
from formers.lab.study.candidates import candidates
from formers.lab.study.study import Match
from formers.lab.train.job import Job

RATES = {"learning_rate": (1e-3, 1e-2)}
ARMS = {
    "none of the first arm": (("deep: depth=3", "shallow: depth={1, 2}"), {}),
    "rates of every arm": (("deep: depth=2", "shallow: depth=1"), RATES),
    "a first arm that cannot exist": (("no: mixer=fourier", "deep: depth=2", "shallow: depth={2, 1}"), {}),
}


@pytest.fixture(autouse=True)
def steps_as_long_as_models_are_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    def relative(study: Study, config: Any, base: Any) -> float:
        assert config.to_json_string() != base.to_json_string(), "a model is timed against itself"
        return 1.01 * config.depth / base.depth  # as measured: never quite even

    monkeypatch.setattr(step_time, "measure_relative_step_time", relative)


@pytest.mark.parametrize("match", ["steps", "parameters", "flops", "time"])
@pytest.mark.parametrize("case", ARMS)
def test_trials_are_the_models_that_are_ranked(small: Study, match: Match, case: str) -> None:
    arms, search = ARMS[case]
    study = replace(small, arms=tuple(map(Arm.parse, arms)), match=match, search=search)
    tried = {(it.arm.name, str(it.options)): it for it in plan_search(study) if isinstance(it, Job)}
    several = [found for arm in study.arms if len(found := candidates(study, arm)) > 1]
    assert len(tried) == sum(map(len, several))
    for k in range(2):
        taken = {found[0].arm.name: found[k] for found in several}
        others = {arm.name: candidates(study, arm)[0] for arm in study.arms}
        for ranked in plan_jobs(study, others | taken):
            if isinstance(ranked, Job) and ranked.arm.name in taken:
                trial = tried[ranked.arm.name, str(ranked.options)]
                assert (trial.config_json, trial.budget) == (ranked.config_json, ranked.budget)


@pytest.mark.parametrize("match", ["parameters", "flops"])
def test_trials_cost_what_the_first_arm_costs(small: Study, match: Match) -> None:
    study = replace(small, arms=tuple(map(Arm.parse, ARMS["none of the first arm"][0])), match=match)
    target = cost_of(study.task, study.config(study.arms[0]), match)
    shallow, deeper = (it.config for it in plan_search(study) if isinstance(it, Job))
    assert cost_of(study.task, deeper, match) == pytest.approx(target, rel=0.02)
    assert shallow.ffn.expand == pytest.approx(4 * 4, rel=0.1), "its one layer is as wide as it may become, and no more"


def test_models_are_built_once_for_all_seeds(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Arm] = []

    def counted(study: Study, arm: Arm) -> Any:
        built.append(arm)
        return original(study, arm)

    original = Study.built_config
    monkeypatch.setattr(Study, "built_config", counted)
    plan = plan_jobs(replace(small, seeds=tuple(range(10)), match="parameters"))
    assert [entry.seed for entry in plan] == [seed for seed in range(10) for _ in small.arms]
    assert [arm.name for arm in built] == [arm.name for arm in small.arms]
