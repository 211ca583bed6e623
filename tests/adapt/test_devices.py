"""Repairs where the trainer's device is another one than that of the models and of the text.

No GPU is needed: a second place is told by an attribute that models and tensors get as they are moved to it, and that
each pass of a model compares with that of its tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import TrainingArguments

from formers import CausalLM, TransformerConfig
from formers.adapt import convert
from formers.adapt.repair import distill, transfer_attention
from formers.adapt.repair_trainer import RepairTrainer
from formers.adapt.streamed_transfer import stream_transfer
from formers.lab.study.budget import Budget

ELSEWHERE = torch.device("cpu", 1)
BUDGET = Budget(steps=2, batch_size=2, evaluations=2)


def place(thing: Any) -> torch.device:
    return getattr(thing, "place", torch.device("cpu"))


@pytest.fixture(autouse=True)
def second_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models and tensors be moved to the second device, which the trainer takes."""
    move_tensor, move_model = Tensor.to, CausalLM.to

    def tensor_to(self: Tensor, *args: Any, **options: Any) -> Tensor:
        if ELSEWHERE not in (*args[:1], options.get("device")):
            return move_tensor(self, *args, **options)
        moved = self.detach().clone()
        moved.place = ELSEWHERE  # type: ignore[attr-defined]
        return moved

    def model_to(self: CausalLM, *args: Any, **options: Any) -> CausalLM:
        if ELSEWHERE not in (*args[:1], options.get("device")):
            return move_model(self, *args, **options)
        self.__dict__["place"] = ELSEWHERE
        return self

    def trainers_device(self: TrainingArguments) -> torch.device:
        if not hasattr(self, "_n_gpu"):
            assert self._setup_devices
            self._n_gpu = 2  # of which a repair takes one
        return ELSEWHERE

    monkeypatch.setattr(Tensor, "to", tensor_to)
    monkeypatch.setattr(CausalLM, "to", model_to)
    monkeypatch.setattr(CausalLM, "device", property(place))
    monkeypatch.setattr(TrainingArguments, "device", property(trainers_device))
    monkeypatch.setattr("formers.lab.train.trainer._STEPS_AHEAD", 1)  # as on a GPU: no batch is a part of another
    monkeypatch.setattr(Accelerator, "device", property(lambda self: ELSEWHERE))


def watched(passes: list[tuple[torch.device, torch.device]]) -> tuple[CausalLM, CausalLM]:
    """Return a teacher and a student whose passes are noted: where the model is, and where its tokens are."""
    torch.manual_seed(0)
    teacher = CausalLM(TransformerConfig(vocab_size=20, width=16, depth=2, heads=2, context_length=32)).eval()
    student: Any = convert(teacher, "window(4)").model
    for model in (teacher, student):

        def note(module: Any, args: Any, given: dict[str, Any], model: CausalLM = model) -> None:
            passes.append((place(model), place(given["input_ids"])))

        model.model.register_forward_pre_hook(note, with_kwargs=True)
    return teacher, student


def rows(count: int) -> Tensor:
    return torch.randint(20, (count, 16), generator=torch.Generator().manual_seed(count))


def test_tuning_has_models_and_tokens_on_the_trainers_device(tmp_path: Path) -> None:
    passes: list[tuple[torch.device, torch.device]] = []
    teacher, student = watched(passes)
    distill(teacher, student, rows(4), tmp_path, BUDGET, held_out_nl=rows(3))
    assert set(passes) == {(ELSEWHERE, ELSEWHERE)}
    assert len(passes) == 2 * (2 + 2 * 3)  # two models, two steps, and three rows after each


def test_transfer_has_models_and_tokens_on_the_trainers_device(tmp_path: Path) -> None:
    passes: list[tuple[torch.device, torch.device]] = []
    transfer_attention(*watched(passes), rows(4), tmp_path, BUDGET)
    assert set(passes) == {(ELSEWHERE, ELSEWHERE)}


def test_a_streamed_transfer_takes_the_teacher_to_the_student(tmp_path: Path) -> None:
    teacher, student = watched([])
    student.to(ELSEWHERE)
    stream_transfer(teacher, student, rows(4), tmp_path, BUDGET)
    assert place(teacher) == ELSEWHERE


def test_a_trainer_takes_no_gpu_that_the_student_is_not_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, student = watched([])
    taken: list[bool] = []
    monkeypatch.setattr(RepairTrainer, "train", lambda self, **_: taken.append(self.args.use_cpu))
    distill(teacher, student, rows(4), tmp_path, BUDGET)
    assert taken == [True]
