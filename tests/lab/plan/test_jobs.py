from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from formers.lab import Arm, Study, read_study, run
from formers.lab.plan import step_time
from formers.lab.plan.jobs import plan_jobs
from formers.lab.plan.matching import cost_of
from formers.lab.store.records import Row
from formers.lab.train.job import Job
from formers.machine.sealed_json import unsealed
from formers.part import Unsupported

ARMS = (
    "softmax: mixer=softmax",
    "identity: mixer=identity",
    "dense: mixer=dense, residual=danet, norm=max_norm, ffn=mlp(activation=relu, bias=False)",
    "glu: ffn=glu",
    "learned: position=learned",
    "shallow: depth=2",
    "deep: depth=5",
    "pool: mixer=pool",
)


def study(what: str, *arms: str, folder: Path | None = None) -> Study:
    return Study(
        task="shakespeare(length=32)", arms=tuple(map(Arm.parse, arms or ARMS)), match=what, seeds=(0, 1), folder=folder
    )


def jobs(given: Study) -> dict[str, Job]:
    return {job.arm.name: job for job in plan_jobs(given) if isinstance(job, Job)}


def test_steps_change_nothing() -> None:
    given = study("steps")
    assert all(job.arm in given.arms and job.budget == given.budget for job in jobs(given).values())
    assert [job.seed for job in plan_jobs(given)] == [0] * len(ARMS) + [1] * len(ARMS)


@pytest.mark.parametrize("what", ["parameters", "flops"])
def test_costs_are_matched(what: str) -> None:
    given = study(what)
    found = jobs(given)
    costs = {name: cost_of(given.task, job.config, what) for name, job in found.items()}  # type: ignore[arg-type]
    target = costs["softmax"]
    assert {name: value for name, value in costs.items() if abs(value / target - 1) > 0.01} == {}
    assert found["softmax"].arm == given.arms[0]
    assert found["shallow"].config.depth == 2, "an arm keeps the depth it chose itself"
    assert all(found[name].config.depth == 3 for name in ("identity", "dense", "glu", "learned", "pool"))
    assert found["glu"].config.ffn.name() == "glu"
    assert found["dense"].config.ffn.activation == "relu"


def test_the_command_of_a_matched_arm_repeats_it() -> None:
    given = study("parameters")
    job = jobs(given)["dense"]
    assert f"ffn={job.config.ffn!r}".replace("'", '"') in shlex.split(job.empty_row().command)


def test_where_the_feed_forward_is_not_enough_the_depth_changes() -> None:
    given = study("parameters", "big: depth=8", "small: depth=2, width=64", "thin: width=48")
    found = jobs(given)
    assert cost_of(given.task, found["thin"].config, "parameters") == pytest.approx(
        cost_of(given.task, found["big"].config, "parameters"), rel=0.01
    )
    # an arm that fixed its depth gets as near as it can, and the report says how near
    assert found["small"].config.depth == 2
    assert found["small"].config.ffn.expand == pytest.approx(4 * 4, rel=0.5)


def test_arms_that_cannot_exist_stay_rows() -> None:
    given = study("flops", "fourier: mixer=fourier", "softmax: mixer=softmax", "linear: mixer=linear")
    plan = plan_jobs(given)
    assert [type(item) for item in plan] == [Row, Job, Job] * 2
    assert isinstance(given.configs()["fourier"], Unsupported)
    softmax, linear = (cost_of(given.task, plan[i].config, "flops") for i in (1, 2))  # type: ignore[union-attr]
    assert linear == pytest.approx(softmax, rel=0.01)


def test_equal_time_is_fewer_steps_for_slow_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowness(given: Study, config: object, base: object) -> float:
        asked.append(config)
        return 2.0

    asked: list[object] = []
    monkeypatch.setattr(step_time, "measure_relative_step_time", slowness)
    given = study("time", "softmax: mixer=softmax", "linear: mixer=linear", folder=tmp_path)
    found = jobs(given)
    assert found["softmax"].budget.steps == given.budget.steps
    assert found["linear"].budget.steps == given.budget.steps / 2
    assert len(asked) == 1, "one measurement for all seeds"
    assert jobs(given) == found
    assert len(asked) == 1, "a study that is started again keeps its measurement"
    assert list(unsealed(json.loads((tmp_path / "pace.json").read_text())).values()) == [2.0]


def test_pace_is_taken_within_rounds(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that gets slower all the time changes nothing, nor does one interruption."""
    taken = list[float]()

    def seconds(timer: step_time.StepTimer) -> float:
        taken.append(timer.model.config.depth * 1.01 ** len(taken) * (50 if len(taken) == 11 else 1))
        return taken[-1]

    monkeypatch.setattr(step_time.StepTimer, "time_step", seconds)
    config = one_arm.config(one_arm.arms[0])
    assert step_time.measure_relative_step_time(one_arm, config.swap(depth=3), config) == pytest.approx(3, rel=0.02)


def test_pace_is_measured_by_training_steps(one_arm: Study) -> None:
    config = one_arm.config(one_arm.arms[0])
    timer = step_time.StepTimer(one_arm, config)
    before = [weight.clone() for weight in timer.model.parameters()]
    assert timer.time_step() > 0
    assert all(weight.equal(old) for weight, old in zip(timer.model.parameters(), before, strict=True))
    assert step_time.measure_relative_step_time(one_arm, config.swap(depth=3), config) > 0


def test_a_matched_study_runs(small: Study) -> None:
    results = run(replace(small, match="parameters"))
    softmax, identity = results.rows
    assert results.matched == "parameters"
    assert identity.status == "finished"
    assert identity.parameters == pytest.approx(softmax.parameters, rel=0.02)
    assert "expand" in identity.choices["ffn"]
    assert "--match parameters" in results.command
    assert read_study(small.folder / "study.yaml").match == "parameters"


def test_an_unknown_match() -> None:
    with pytest.raises(ValueError, match="did you mean 'parameters'"):
        study("parameter")


@pytest.mark.parametrize("text", ["[", "[]", "7", "[" * 99999, '{"a": 0}', '{"a": NaN}', '{"a": "1"}', '{"a": true}'])
def test_a_damaged_pace_is_named(one_arm: Study, text: str) -> None:
    (one_arm.folder / "pace.json").write_text(text)
    config = one_arm.config(one_arm.arms[0])
    with pytest.raises(ValueError, match=r"pace\.json cannot be read: .*measure anew"):
        step_time.relative_step_time(one_arm, config, config)
