"""The memory of a training's rows: handed on, reset, and kept in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from formers.lab import Arm, Study, run
from formers.lab.plan.jobs import plan_jobs
from formers.lab.plan.step_time import StepTimer
from formers.lab.train.carried_memory import CarriedMemory
from formers.lab.train.state_file import load_state, save_state
from formers.lab.train.trainer import SafeTrainer
from formers.models import CausalLM, TransformerConfig
from formers.part import state_from_tree, state_tree
from formers.tasks.task import BEGINS

ARMS = (Arm("none", {"memory": "none"}), Arm("recurrent", {"memory": "recurrent(length=24)"}))


@pytest.fixture
def carried(small: Study, small_text: Path) -> Study:
    base = {**small.base, "position": "xl"}
    return replace(
        small, task=f"shakespeare(length=16, contiguous=True, path={str(small_text)!r})", base=base, arms=ARMS
    )


def model(memory: str = "recurrent(length=8)") -> Any:
    torch.manual_seed(0)
    return CausalLM(TransformerConfig(vocab_size=11, width=16, heads=2, depth=2, position="xl", memory=memory))


def batch(seed: int, begins: list[bool] | None = None) -> dict[str, Any]:
    ids = torch.randint(11, (2, 5), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids} | ({} if begins is None else {BEGINS: begins})


def step(memory: CarriedMemory, inputs: dict[str, Any]) -> torch.Tensor:
    logits = memory.model.train()(**memory.enter(inputs)).logits
    logits.sum().backward()
    memory.leave()
    return logits.detach()


def test_only_a_memory_that_is_carried_on_is_handed_on() -> None:
    for memory, begins in (("none", [True, True]), ("recurrent(length=8)", None)):
        carried = CarriedMemory(model(memory))
        assert carried.enter(batch(0, begins)).keys() == {"input_ids"}
        assert carried.to_tree() is None


def test_rows_go_on_or_begin_anew() -> None:
    memory = CarriedMemory(model())
    alone = step(CarriedMemory(memory.model), batch(1, [True, True]))
    step(memory, batch(0, [True, True]))
    tree = memory.to_tree()
    went_on = step(memory, batch(1, [False, False]))
    memory.from_tree(tree)
    mixed = step(memory, batch(1, [True, False]))
    torch.testing.assert_close(mixed[0], alone[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(mixed[1], went_on[1], rtol=0, atol=1e-6)
    assert not torch.allclose(went_on[0], alone[0], atol=1e-4)
    assert torch.equal(step(memory, batch(1, [True, True])), alone)


def test_what_is_kept_in_a_file_goes_on_to_the_bit(tmp_path: Path) -> None:
    memory = CarriedMemory(model())
    for begins in ([True, True], [False, False], [False, True]):
        step(memory, batch(0, begins))
    save_state(tmp_path / "state.safetensors", memory.to_tree())
    other = CarriedMemory(memory.model)
    other.from_tree(load_state(tmp_path / "state.safetensors"))
    assert other.cache is not None
    assert memory.cache is not None
    assert other.cache.get_seq_length() == memory.cache.get_seq_length() == 15
    assert torch.equal(step(other, batch(3, [False, False])), step(memory, batch(3, [False, False])))
    other.from_tree(None)
    assert other.cache is None


def test_a_tree_of_something_else_is_refused() -> None:
    memory = CarriedMemory(model())
    step(memory, batch(0, [True, True]))
    assert memory.cache is not None
    tree = state_tree(memory.cache.states[0])
    assert state_from_tree(tree).nbytes == memory.cache.states[0].nbytes
    for wrong in (None, {"state": "Path", "fields": {}}, tree | {"fields": {"nothing": 1}}):
        with pytest.raises(ValueError, match="a state was expected"):
            state_from_tree(wrong)


def test_a_row_says_that_segments_followed_each_other(carried: Study) -> None:
    rows = {row.arm: row for row in run(carried).rows}
    assert rows["none"].environment["segments"] == "contiguous"
    assert rows["recurrent"].environment["segments"] == "contiguous, with the memory"
    assert "contiguous=True" in rows["none"].command
    assert rows["none"].choices.keys() | {"memory"} == rows["recurrent"].choices.keys()
    assert rows["recurrent"].flops_per_token > rows["none"].flops_per_token  # type: ignore[operator]


def test_training_has_the_memory_of_the_steps_before(carried: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = SafeTrainer.training_step

    def watched(self: Any, *given: Any, **options: Any) -> Any:
        loss = original(self, *given, **options)
        seen.append(0 if self.memory.cache is None else int(self.memory.cache.seen_b[0]))
        return loss

    monkeypatch.setattr(SafeTrainer, "training_step", watched)
    run(replace(carried, arms=ARMS[1:]))
    assert seen == [16 * n for n in range(1, 9)]


def test_without_segments_an_arm_with_a_memory_cannot_exist(small: Study) -> None:
    none, recurrent = plan_jobs(replace(small, arms=ARMS))
    assert getattr(none, "status", None) is None
    assert getattr(recurrent, "status", None) == "unsupported"
    assert "contiguous=True" in getattr(recurrent, "cause", "")


def test_steps_are_timed_with_a_full_memory(carried: Study) -> None:
    timer = StepTimer(carried, carried.config(ARMS[1]))
    assert timer.memory.cache is not None
    assert timer.memory.cache.states[0].memory.size == 24  # type: ignore[attr-defined]
    assert timer.time_step() > 0
