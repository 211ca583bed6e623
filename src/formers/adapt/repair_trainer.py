"""The trainer of repairs: a loss between two models, the best weights, and checkpoints of what is trained alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from formers.adapt.json_lines import JsonLines, hash_of_model, hash_of_tokens
from formers.adapt.swap_costs import Progress
from formers.adapt.trained_weights import load_weights, save_weights, saved_facts, trained_weights
from formers.lab.study.budget import Budget
from formers.lab.train.stop import Stop, Stopped, catch_signals
from formers.lab.train.trainer import SafeTrainer
from formers.models.pretrained import FormersModel
from formers.part import evaluating

_SEALED = "sealed"
"""A file in every checkpoint that is whole."""
_WEIGHTS = "model.safetensors"
"""The file of the trained weights in a checkpoint."""
_BEST = "best.safetensors"
"""The file of the best weights so far, beside the checkpoints and in each of them."""
_FINISHED = "finished.safetensors"
"""The file of the weights that a repair has ended with."""
_FACTS = "repair.jsonl"
"""The file that says what the weights in a folder depend on."""
_CHECKPOINTS = 4
"""Checkpoints along a repair."""
Loss = Callable[[FormersModel, FormersModel, Tensor], Tensor]
"""(teacher, student, tokens (B, L)) → what is to become small."""


class Repair:
    """A training of a student on a loss between it and its teacher, in a folder that it goes on from.

    It is made before any weight of the student changes: the folder then belongs to this student, as it is, this
    teacher, text and budget. It runs on the student's device, where the teacher goes, too.

    Args:
        about: what the result depends on beside models, text, budget, seed and precision, as JSON has it.
        ids_nl: rows of tokens, (N, L); they are read in an order that the seed gives, again when they are through.
        held_out_nl: rows to choose the best weights by, as often as the budget evaluates; without, the last are kept.
        bf16: whether products are made in bfloat16.
        progress: called after each step.
    """

    def __init__(
        self,
        teacher: FormersModel,
        student: FormersModel,
        loss: Loss,
        folder: Path,
        budget: Budget,
        about: dict[str, Any],
        *,
        held_out_nl: Tensor | None = None,
        bf16: bool = False,
        progress: Progress | None = None,
    ):
        self.teacher, self.student, self.folder, self.budget = teacher, student, folder, budget
        self.loss, self.bf16 = in_bfloat16(loss) if bf16 else loss, bf16
        self.held_out_nl, self.progress = held_out_nl, progress
        self.facts = about | {"teacher": hash_of_model(teacher), "student": hash_of_model(student), "bf16": bf16}
        self.facts |= {"budget": asdict(budget)}
        self.facts |= {"held_out": None if held_out_nl is None else hash_of_tokens(held_out_nl)}

    def run(self, ids_nl: Tensor, seed: int) -> list[float]:
        """Train the weights that take gradients, from the last whole checkpoint on; return the losses on the way.

        Ctrl-C ends the step, and leaves a checkpoint. Raise ValueError for a folder of another training, and Stopped.
        """
        self._check_folder(self.facts | {"rows": hash_of_tokens(ids_nl), "seed": seed})
        finished = saved_facts(self.folder / _FINISHED)
        if finished is not None:
            load_weights(self.student, self.folder / _FINISHED)
            return list(finished["losses"])
        self.teacher.eval()
        with catch_signals() as stop:
            trainer, callback = self._trainer(ids_nl, seed, stop)
            last = self._last_checkpoint()
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        if callback.is_stopped:
            raise Stopped(f"stopped after step {trainer.state.global_step}; the same call goes on from {self.folder}")
        self.student.eval()
        losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
        if self.held_out_nl is not None:
            load_weights(self.student, self.folder / _BEST)
        save_weights(trained_weights(self.student), self.folder / _FINISHED, {"losses": losses})
        return losses

    def _check_folder(self, facts: dict[str, Any]) -> None:
        """Write down what the folder's weights depend on, before there are any. Raise ValueError for another's."""
        what = "another repair (models, text, budget, seed, precision or adapters)"
        kept = JsonLines(self.folder / _FACTS, facts, what)
        if kept.is_new and any(self.folder.glob("*.safetensors")) | any(self.folder.glob("checkpoint-*")):
            raise ValueError(f"{self.folder} holds weights, and nothing tells of which repair; give another folder")

    def _trainer(self, ids_nl: Tensor, seed: int, stop: Stop) -> tuple[RepairTrainer, _RepairCallback]:
        rows = TokenRows(ids_nl, self.budget.steps * self.budget.batch_size, seed)
        callback = _RepairCallback(self, stop)
        arguments = _arguments(self.folder, self.budget, seed, on_cpu=self.student.device.type == "cpu")
        arguments._n_gpu = min(arguments.n_gpu, 1)  # several would run copies of the student, which are no models
        trainer = RepairTrainer(model=self.student, args=arguments, train_dataset=rows, callbacks=[callback])
        trainer.remove_callback(PrinterCallback)  # `progress` is told of every step
        self.teacher.to(self.student.device)  # where the trainer puts each batch
        trainer.teacher, trainer.loss_between, trainer.seal = self.teacher, self.loss, callback.seal
        return trainer, callback

    def _last_checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint, and keep the best weights that were known then."""
        (self.folder / _BEST).unlink(missing_ok=True)
        whole = [path.parent for path in self.folder.glob(f"checkpoint-*/{_SEALED}")]
        last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
        if last is not None and (last / _BEST).exists():
            shutil.copyfile(last / _BEST, self.folder / _BEST)
        return last

    def offer(self, step: int) -> None:
        """Keep the weights after a step if their loss on the held-out rows is the smallest so far."""
        assert self.held_out_nl is not None
        with evaluating(self.student):
            rows = (row[None].to(self.student.device) for row in self.held_out_nl)
            value = sum(float(self.loss(self.teacher, self.student, row)) for row in rows)
        known = saved_facts(self.folder / _BEST)
        if known is None or value < known["loss"]:
            save_weights(trained_weights(self.student), self.folder / _BEST, {"step": step, "loss": value})


def in_bfloat16(loss: Loss) -> Loss:
    """Return the same loss, of products in bfloat16 (autocast)."""

    def rounded(teacher: FormersModel, student: FormersModel, ids_bl: Tensor) -> Tensor:
        with torch.autocast(ids_bl.device.type, torch.bfloat16):
            return loss(teacher, student, ids_bl)

    return rounded


class RepairTrainer(SafeTrainer):
    """Hugging Face's trainer with a loss between two models; checkpoints hold the trained weights alone."""

    teacher: FormersModel
    loss_between: Loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Tensor:
        """Return the loss of a batch."""
        return self.loss_between(self.teacher, model, inputs["input_ids"])

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        save_weights(trained_weights(self.model), Path(output_dir or self.args.output_dir) / _WEIGHTS, {})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint) / _WEIGHTS)


class TokenRows(Dataset[dict[str, Tensor]]):
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


class _RepairCallback(TrainerCallback):
    """Reports progress, keeps the best weights, and ends the training with a checkpoint where that is asked for."""

    def __init__(self, repair: Repair, stop: Stop):
        self.repair, self.stop, self.is_stopped = repair, stop, False

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Do what is due after a step."""
        repair = self.repair
        if repair.held_out_nl is not None and state.global_step in repair.budget.evaluation_steps:
            repair.offer(state.global_step)
            given["model"].train()
        if repair.progress is not None:
            repair.progress(state.global_step, state.max_steps)
        if self.stop.requested and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = self.is_stopped = True

    def seal(self, path: Path) -> None:
        """Finish a checkpoint: the best weights so far go with it."""
        if (best := self.repair.folder / _BEST).exists():
            shutil.copyfile(best, path / _BEST)
        (path / _SEALED).touch()


def _arguments(folder: Path, budget: Budget, seed: int, *, on_cpu: bool) -> TrainingArguments:
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
        use_cpu=on_cpu,
        train_sampling_strategy="sequential",
        logging_steps=max(1, budget.steps // 20),
        save_steps=max(1, budget.steps // _CHECKPOINTS),
        save_total_limit=2,
        disable_tqdm=True,
        log_level="error",
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
