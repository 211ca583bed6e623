"""Repair of a model after a swap: new mixers are taught by the old ones, then the whole model by the old model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax
from torch.utils.data import Dataset
from transformers import TrainingArguments

from formers.adapt.attention_transfer import mixers_of, taught_layers, transfer_losses
from formers.lab.study.budget import Budget
from formers.lab.train.trainer import SafeTrainer
from formers.models.pretrained import FormersModel

_SEALED = "sealed"
"""A file in every checkpoint that is whole."""
_CHECKPOINTS = 4
"""Checkpoints along a repair."""
Loss = Callable[[FormersModel, FormersModel, Tensor], Tensor]
"""(teacher, student, tokens (B, L)) → what is to become small."""


def transfer_attention(
    teacher: FormersModel, student: FormersModel, ids_nl: Tensor, folder: Path, budget: Budget, *, seed: int = 0
) -> list[float]:
    """Teach the student's new mixers what the teacher's attention does, layer by layer; return the losses on the way.

        student = convert_weights(teacher, teacher.config.swap(mixer="linear(feature=hedgehog)")).model
        transfer_attention(teacher, student, ids, Path("repair/transfer"), Budget(steps=500, batch_size=4))

    Only mixers that are not the teacher's change, in place; the loss is the mean of `transfer_losses`. A call that was
    stopped goes on where its last checkpoint in `folder` is.

    Args:
        ids_nl: rows of tokens, (N, L); they are read in an order that the seed gives, again when they are through.
    """
    layers = taught_layers(teacher, student)
    taught = {id(p) for mixer in mixers_of(student, layers).values() for p in mixer.parameters()}

    def loss(teacher: FormersModel, student: FormersModel, ids_bl: Tensor) -> Tensor:
        return torch.stack(list(transfer_losses(teacher, student, ids_bl).values())).mean()

    wanted = {name: p.requires_grad for name, p in student.named_parameters()}
    for parameter in student.parameters():
        parameter.requires_grad_(id(parameter) in taught)
    try:
        return _repair(teacher, student, ids_nl, folder, budget, seed, loss)
    finally:
        for name, parameter in student.named_parameters():
            parameter.requires_grad_(wanted[name])


def distill(
    teacher: FormersModel, student: FormersModel, ids_nl: Tensor, folder: Path, budget: Budget, *, seed: int = 0
) -> list[float]:
    """Train all of the student to predict what the teacher predicts; return the losses on the way.

    The loss is KL(teacher‖student) of the next token, in nats, mean over tokens. The rest as in `transfer_attention`.
    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    return _repair(teacher, student, ids_nl, folder, budget, seed, _divergence)


def _divergence(teacher: FormersModel, student: FormersModel, ids_bl: Tensor) -> Tensor:
    with torch.no_grad():
        want = log_softmax(teacher(input_ids=ids_bl, use_cache=False).logits.float(), -1)
    got = log_softmax(student(input_ids=ids_bl, use_cache=False).logits.float(), -1)
    return kl_div(got.flatten(0, 1), want.flatten(0, 1), log_target=True, reduction="batchmean")


class _RepairTrainer(SafeTrainer):
    """Hugging Face's trainer with a loss between two models."""

    teacher: FormersModel
    loss_between: Loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Tensor:
        """Return the loss of a batch."""
        return self.loss_between(self.teacher, model, inputs["input_ids"])


class _TokenRows(Dataset[dict[str, Tensor]]):
    """So many rows of tokens in an order that a seed gives, again and again."""

    def __init__(self, ids_nl: Tensor, count: int, seed: int):
        self.ids_nl, self.count = ids_nl, count
        self.order = torch.randperm(len(ids_nl), generator=torch.Generator().manual_seed(seed))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self.count:
            raise IndexError(f"row {index} of {self.count}")
        return {"input_ids": self.ids_nl[self.order[index % len(self.order)]]}


def _repair(
    teacher: FormersModel,
    student: FormersModel,
    ids_nl: Tensor,
    folder: Path,
    budget: Budget,
    seed: int,
    loss: Loss,
) -> list[float]:
    """Train the student on a loss, from the last whole checkpoint in the folder on; return the logged losses."""
    teacher.eval()

    rows = _TokenRows(ids_nl, budget.steps * budget.batch_size, seed)
    trainer = _RepairTrainer(model=student, args=_arguments(folder, budget, seed), train_dataset=rows)
    trainer.teacher, trainer.loss_between = teacher, loss
    trainer.seal = lambda path: (path / _SEALED).touch()  # type: ignore[assignment]
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{_SEALED}")]
    last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    student.eval()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def _arguments(folder: Path, budget: Budget, seed: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=budget.steps,
        per_device_train_batch_size=budget.batch_size,
        learning_rate=budget.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(budget.warmup * budget.steps),
        weight_decay=budget.weight_decay,
        max_grad_norm=budget.clip,
        seed=seed,
        train_sampling_strategy="sequential",
        logging_steps=max(1, budget.steps // 20),
        save_steps=max(1, budget.steps // _CHECKPOINTS),
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
