"""A whole repair: stages in a file, stopped and gone on with, and their page."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from formers import CausalLM, TransformerConfig
from formers.adapt.convert import convert
from formers.adapt.lora import LoraOptions
from formers.adapt.repair_run import STAGES, RepairPlan, repair_model
from formers.adapt.report.repair_page import (
    RepairResults,
    read_repair_results,
    render_repair_page,
    write_repair_results,
)
from formers.lab.study.budget import Budget

pytest.importorskip("peft", reason="PEFT is not installed")

PLAN = RepairPlan(
    transfer=Budget(steps=6, batch_size=2, learning_rate=1e-2),
    tuning=Budget(steps=4, batch_size=2, learning_rate=1e-3),
    lora=LoraOptions(rank=2),
    lengths=(8, 12),
)


def models() -> tuple[CausalLM, CausalLM]:
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "width": 16, "depth": 2, "heads": 2, "initializer_range": 0.4, "context_length": 32}
    teacher = CausalLM(TransformerConfig(**sizes, mixer="softmax")).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features that are new
        return teacher, convert(teacher, ["softmax()", "linear(feature=hedgehog)"]).model


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randint(20, (count, 16), generator=torch.Generator().manual_seed(seed))


def test_stages_are_kept_and_gone_on_with(tmp_path: Path) -> None:
    teacher, whole = models()
    stages = repair_model(teacher, whole, rows(4, 1), rows(4, 2), tmp_path / "whole", PLAN)
    assert [stage.name for stage in stages] == list(STAGES)
    assert [len(stage.speeds) for stage in stages] == [2, 2, 0, 0]
    assert stages[0].states == {n: teacher.state_bytes(n) for n in (1024, 8192, 32768)}
    assert stages[1].states == {n: whole.state_bytes(n) for n in (1024, 8192, 32768)}
    assert len(stages[2].losses) > 1

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "after transfer" and done == 3:
            raise KeyboardInterrupt

    teacher, stopped = models()
    with pytest.raises(KeyboardInterrupt):
        repair_model(teacher, stopped, rows(4, 1), rows(4, 2), tmp_path / "stopped", PLAN, progress=stop)
    teacher, again = models()
    went_on = repair_model(teacher, again, rows(4, 1), rows(4, 2), tmp_path / "stopped", PLAN)
    assert [stage.nats for stage in went_on] == [stage.nats for stage in stages]
    for name, weight in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    with pytest.raises(ValueError, match="measurements of another repair"):
        repair_model(teacher, models()[1], rows(4, 3), rows(4, 2), tmp_path / "stopped", PLAN)
    with pytest.raises(ValueError, match="at least 1 and 2 are needed"):
        repair_model(teacher, models()[1], rows(4, 1), rows(1, 2), tmp_path / "short", PLAN)

    results = RepairResults(
        model="tiny", text="words.txt", rows=4, held_out=4, row=16, mixers=("softmax()", "linear"), stages=tuple(stages)
    )
    page = write_repair_results(results, tmp_path)
    read = read_repair_results(tmp_path / "repair.json")
    assert read == results
    assert page.read_text() == render_repair_page(read)
    for words in ("after transfer", "times smaller", "Loss, after tuning"):
        assert words in page.read_text(), words
    (tmp_path / "repair.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no results of formers repair"):
        read_repair_results(tmp_path / "repair.json")
