"""Models spread over two processes: what comes out, what each process holds, and going on after a death."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from formers.lab import Study, read_study, write_study
from formers.lab.executors.processes import Processes
from formers.lab.plan.jobs import plan_jobs
from formers.lab.run_study import run
from formers.lab.train.job import Job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gloo between processes is tested on Linux")

SHARDING = Path(__file__).with_name("sharding.py")
KILLED = -signal.SIGKILL
HELPERS = [str(SHARDING.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(HELPERS)}
"""`sharding.py` uses `dying.py`, one folder up."""
ROUNDING = 1e-10
"""Eight steps in float64: sums over some thousand numbers differ by 1e-13 of their size, and AdamW's steps are 1e-2
long."""


@dataclass
class Ran:
    """What `sharding.py` left."""

    folder: Path
    ends: dict[str, Any]

    def facts(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name / "facts.json").read_text())

    def process(self, name: str, rank: int) -> dict[str, Any]:
        return json.loads((self.folder / name / f"process-{rank}.json").read_text())

    def models(self, name: str) -> dict[str, Path]:
        return {path.name: path for path in (self.folder / name / "models").iterdir()}


@pytest.fixture(scope="module")
def run_kind(
    python: Any, small_text: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Ran]:
    """Runs the studies of one kind."""

    def run_kind(kind: str) -> Ran:
        folder = tmp_path_factory.mktemp("sharding")
        done = python.run(SHARDING, kind, small_text, empty_database, folder, env=ENVIRONMENT)
        assert done.returncode == 0, done.out + done.err
        return Ran(folder, json.loads(done.out))

    return run_kind


@pytest.fixture(scope="module")
def ran(run_kind: Callable[[str], Ran]) -> Ran:
    return run_kind("studies")


@pytest.fixture(scope="module")
def seldom(run_kind: Callable[[str], Ran]) -> Ran:
    return run_kind("seldom")


def test_the_same_training_as_in_one_process(ran: Ran) -> None:
    assert ran.ends["spread"] == [0, 0]
    alone, spread = ran.facts("alone")["rows"], ran.facts("spread")["rows"]
    for one, two in zip(alone, spread, strict=True):
        assert one["status"] == two["status"] == "finished"
        assert (one["step"], one["samples"]) == (two["step"], two["samples"])
        assert two["metrics"] == pytest.approx(one["metrics"], rel=ROUNDING), one["arm"]
        for (step, values), (same, others) in zip(one["values"], two["values"], strict=True):
            assert (same, others) == (step, pytest.approx(values, rel=ROUNDING)), one["arm"]
        norms = ran.process("alone", 0)[one["arm"]]["norms"]
        assert max(norms) > 0.5  # where gradients are cut, so that the norm of the whole gradient matters
        for rank in range(2):
            assert ran.process("spread", rank)[one["arm"]]["norms"] == pytest.approx(norms, rel=ROUNDING), one["arm"]


def test_the_same_weights_as_in_one_process(ran: Ran) -> None:
    alone, spread = ran.models("alone"), ran.models("spread")
    assert alone.keys() == spread.keys()
    assert len(alone) == 4
    for name, path in alone.items():
        whole, found = (load_file(folder / "model.safetensors") for folder in (path, spread[name]))
        assert whole.keys() == found.keys()
        assert ("lm_head.weight" in found) == name.startswith("untied")
        assert max((found[key] - value).abs().max() for key, value in whole.items()) < ROUNDING


def test_each_process_holds_half(ran: Ran) -> None:
    for arm in ran.process("alone", 0):
        halves = [ran.process("spread", rank)[arm] for rank in range(2)]
        whole = halves[0]["whole"]
        assert ran.process("alone", 0)[arm]["weights"] == whole
        assert sum(half["weights"] for half in halves) == whole  # what DDP would hold is twice as much
        assert sum(half["moments"] for half in halves) == 2 * whole
        assert all(half["weights"] == whole / 2 for half in halves)


def test_buffers_are_those_of_the_first_process(ran: Ran) -> None:
    assert ran.ends["buffers"] == [0, 0]


def test_a_saved_model_is_whole(ran: Ran) -> None:
    study = read_study(ran.folder / "spread" / "study.yaml")
    for job, row in zip(plan_jobs(study), ran.facts("spread")["rows"], strict=True):
        assert isinstance(job, Job)
        model = AutoModelForCausalLM.from_pretrained(job.model_folder)
        assert model.config.architectures == ["CausalLM"]
        assert study.task.evaluate(model).metrics == pytest.approx(row["validation"], rel=ROUNDING)


def test_a_row_says_how_it_was_made(ran: Ran) -> None:
    for row in json.loads((ran.folder / "spread" / "report.json").read_text())["rows"]:
        assert row["environment"]["processes"] == "2 (sharded)"
        assert row["command"].startswith("torchrun --nproc-per-node 2 -m formers train ")
        assert row["command"].endswith(" --shard")
    fingerprints = [
        {row["fingerprint"] for row in json.loads((ran.folder / name / "report.json").read_text())["rows"]}
        for name in ("alone", "spread")
    ]
    assert fingerprints[0] == fingerprints[1]


def test_killed_and_started_again(ran: Ran) -> None:
    check_killed(ran, "cut in a step", killed=1, says="going on from step 2")


@pytest.mark.slow
def test_killed_while_saving_and_started_again(seldom: Ran) -> None:
    check_killed(seldom, "cut while saving", killed=0, says="going on from step 8")


def check_killed(ran: Ran, study: str, killed: int, says: str) -> None:
    first, then = ran.ends[study]
    assert first[killed] == KILLED
    assert then == ran.ends["uncut"] == [0, 0]
    assert says in " ".join(ran.facts(study)["notes"])
    assert ran.facts(study)["rows"] == ran.facts("uncut")["rows"]
    [uncut], [again] = (ran.models(name).values() for name in ("uncut", study))
    assert (again / "model.safetensors").read_bytes() == (uncut / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_going_on_without_spreading(seldom: Ran) -> None:
    ran = seldom
    assert ran.ends["whole after"][1] == [0, 0]
    notes = " ".join(ran.facts("whole after")["notes"])
    assert "going on from step 2" in notes
    assert "processes 2 (sharded) → 2; the result may differ" in notes
    [whole], [spread] = (ran.process(name, 0).values() for name in ("whole after", "uncut"))
    assert whole["weights"] == 2 * spread["weights"]
    [row], [uncut] = (ran.facts(name)["rows"] for name in ("whole after", "uncut"))
    assert row["metrics"] == pytest.approx(uncut["metrics"], rel=ROUNDING)


@pytest.mark.slow
def test_every_part_may_be_spread(python: Any) -> None:
    done = python.run(SHARDING, "parts", env=ENVIRONMENT)
    assert done.returncode == 0, done.err
    assert json.loads(done.out) == [0, 0], done.err


@pytest.mark.parametrize("executor", [None, Processes(2)])
def test_a_single_process_is_told_to_begin_with_torchrun(one_arm: Study, executor: Processes | None) -> None:
    with pytest.raises(ValueError, match=r"--shard spreads a model.*torchrun --nproc-per-node 2 -m formers"):
        run(replace(one_arm, shard=True), executor=executor)


def test_equal_time_is_not_for_models_that_are_spread(one_arm: Study) -> None:
    with pytest.raises(ValueError, match="match='time' paces whole models"):
        replace(one_arm, shard=True, match="time")


def test_a_study_keeps_that_its_models_are_spread(one_arm: Study, tmp_path: Path) -> None:
    spread = replace(one_arm, shard=True)
    write_study(spread, tmp_path / "spread.yaml")
    assert read_study(tmp_path / "spread.yaml") == spread
    assert spread.content_hash == one_arm.content_hash
    (tmp_path / "wrong.yaml").write_text("task: sort\nshard: 2\n")
    with pytest.raises(ValueError, match="shard is true or false, not 2"):
        read_study(tmp_path / "wrong.yaml")
