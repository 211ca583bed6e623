"""Hugging Face's trainer with checkpoints that are whole or not there, and that hold no pickle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import accelerate.optimizer
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Trainer

from formers.lab.distributed import ranks
from formers.lab.distributed.full_state import (
    full_optimizer_state,
    full_weights,
    load_full_optimizer_state,
    load_full_weights,
)
from formers.lab.store.write_error import WriteError, reporting_write_errors
from formers.lab.train.carried_memory import CarriedMemory
from formers.lab.train.random_state import random_states, set_random_states
from formers.lab.train.read_ahead import ReadAhead
from formers.lab.train.state_file import load_state, save_state
from formers.lab.train.step_memory import StepMemory
from formers.machine.files import remove

_OPTIMIZER, _SCALER = "optimizer.safetensors", "scaler.safetensors"
_STEPS_AHEAD = 8
"""Steps of which the batches are made in a row."""


class SafeTrainer(Trainer):
    """Keeps what the trainer would pickle as safetensors and JSON, and calls `seal` once a checkpoint is on the disk.

    Where examples say where rows begin anew, the model's memory is handed on from step to step, and kept as well.

    A checkpoint is the same whether the model is whole in each process or sharded over them: rank 0 writes and reads
    weights and optimizer, whole, and every process its own random states.
    """

    seal: Callable[[Path], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        _look_once()
        self.memory = CarriedMemory(self.model)
        self._ahead: ReadAhead | None = None
        self.step_memory = StepMemory(self.model, self.args.device.type)

    def train(self, *args: Any, **options: Any) -> Any:
        """Train as the trainer does, but forget gradients of a model in one process without a walk through its modules.

        That walk takes as long as AdamW on small models.
        """
        if ranks.world_size() > 1:
            return super().train(*args, **options)
        # a partial, which a copy of the model takes to its own weights
        self.model.__dict__["zero_grad"] = partial(_forget_gradients, self._weights)
        try:
            return super().train(*args, **options)
        finally:
            del self.model.__dict__["zero_grad"]

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Return the loss of a batch, and leave its gradients in the model.

        The trainer's own step sets the model to training mode, which walks through all of its modules; it is in it
        already.
        """
        optimizer = getattr(self.optimizer, "optimizer", None)  # the one that accelerate's holds
        return self.step_memory.watch(
            lambda: self._forward_and_backward(model, inputs, num_items_in_batch),
            optimizer,
            ends_step=self.accelerator.sync_gradients,
        )

    def _forward_and_backward(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any) -> Tensor:
        inputs = self.memory.enter(self._prepare_inputs(inputs))
        with self.compute_loss_context_manager():
            if self._is_cut and self.model_accepts_loss_kwargs:  # a part's share of the batch's labels
                loss = self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
            else:
                loss = self.compute_loss(model, inputs) / self.args.gradient_accumulation_steps
        self.accelerator.backward(loss)
        self.memory.leave()
        return loss.detach()

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Return the batches of a step, and the number of labels in them where the trainer needs it.

        On a CPU, those of several steps are made in a row: code that has just run takes a third of the time.
        """
        if self._ahead is None or self._ahead.source is not epoch_iterator:
            several = _STEPS_AHEAD if self.args.device.type == "cpu" else 1
            self._ahead = ReadAhead(epoch_iterator, several * num_batches)
        return super().get_batch_samples(self._ahead, num_batches, device)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """Return the number of labels in all parts of a batch, which weighs them; None for a batch in one part."""
        return super()._get_num_items_in_batch(batch_samples, device) if self._is_cut else None

    @property
    def _is_cut(self) -> bool:
        """Return whether a batch is cut into parts, one after another or one a process: some have more labels."""
        return self.args.gradient_accumulation_steps * ranks.world_size() > 1

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Return the norm of the gradients, cut to the budget's, as the trainer does.

        On whole models in one process, without what it asks of each gradient in every step: whether it is sharded.
        """
        if ranks.world_size() > 1 or self.accelerator.scaler is not None:
            return super()._clip_grad_norm(model)
        return nn.utils.clip_grad_norm_(self._weights, self.args.max_grad_norm)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the weights that are decayed: matrices, norms and biases aside.

        The trainer knows norms and biases by their names alone, and would decay numbers that heads have one each of:
        spans of attention, gates of a memory, decays by distance.
        """
        matrices = {name for name, weight in model.named_parameters() if weight.ndim > 1}
        return [name for name in super().get_decay_parameter_names(model) if name in matrices]

    @cached_property
    def _weights(self) -> list[nn.Parameter]:
        return [*self.model.parameters()]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: the model counts its operations itself, once, and exactly."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        path = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        try:
            with reporting_write_errors("a checkpoint", path):
                if ranks.is_rank0():
                    remove(path)  # of an attempt that was broken off, or a link that is not ours
                self.accelerator.wait_for_everyone()
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()  # every process has added its random state
                if ranks.is_rank0():
                    self.seal(path)
        except WriteError:
            shutil.rmtree(path, ignore_errors=True)  # half a checkpoint helps nobody, and takes room
            raise

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        weights = full_weights(self.model)
        if ranks.is_rank0():
            self.model.save_pretrained(output_dir or self.args.output_dir, state_dict=weights)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        files = sorted(Path(resume_from_checkpoint).glob("model*.safetensors")) if ranks.is_rank0() else []
        load_full_weights(self.model, {name: value for file in files for name, value in load_file(file).items()})

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = full_optimizer_state(self.model, self.optimizer.optimizer)  # the one that accelerate's holds
        if ranks.is_rank0():
            save_state(Path(output_dir) / _OPTIMIZER, {"optimizer": state, "schedule": self.lr_scheduler.state_dict()})

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        state = load_state(Path(checkpoint) / _OPTIMIZER) if ranks.is_rank0() else {"optimizer": {}, "schedule": None}
        load_full_optimizer_state(self.model, self.optimizer.optimizer, state["optimizer"])
        self.lr_scheduler.load_state_dict(ranks.broadcast_from_rank0(state["schedule"]))

    def _save_scaler(self, output_dir: str) -> None:
        """Keep the factor by which losses are scaled in half precision, where they are."""
        if self.accelerator.scaler is not None and ranks.is_rank0():
            save_state(Path(output_dir) / _SCALER, self.accelerator.scaler.state_dict())

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is None or self.accelerator.scaler is None:
            return
        if (file := Path(checkpoint) / _SCALER).is_file():  # earlier versions had another one
            self.accelerator.scaler.load_state_dict(load_state(file))

    def _save_rng_state(self, output_dir: str) -> None:
        """Keep the random states of this process, the memory of its rows, and the loss since the last log entry."""
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        running = {"loss": self._tr_loss, "since": self._globalstep_last_logged}
        kept = {"random": random_states(), "running": running, "memory": self.memory.to_tree()}
        save_state(self._process_file(output_dir), kept)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        file = self._process_file(checkpoint)
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: go on with as many processes as the training began with")
        state = load_state(file)
        set_random_states(state["random"])
        self.memory.from_tree(state.get("memory"))
        self._tr_loss = state["running"]["loss"].to(self.args.device)
        self._globalstep_last_logged = state["running"]["since"]

    def _process_file(self, folder: str) -> Path:
        return Path(folder) / f"process-{self.args.process_index}.safetensors"


def _forget_gradients(weights: Sequence[nn.Parameter], set_to_none: bool = True) -> None:
    """Do what `zero_grad` does to a model with these weights."""
    for weight in weights:
        if set_to_none or weight.grad is None:
            weight.grad = None
        else:
            weight.grad.detach_().zero_()


def _look_once() -> None:
    """Let accelerate look for the package `lomo_optim` once: it looks on the disk for it, twice in every step."""
    look = getattr(accelerate.optimizer, "is_lomo_available", None)
    if look is not None and not hasattr(look, "cache_info"):
        accelerate.optimizer.is_lomo_available = cache(look)
