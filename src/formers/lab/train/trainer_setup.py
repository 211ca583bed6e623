"""The trainer of a job: its budget as the trainer's arguments, and data in a fixed order."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import Subset
from transformers import PrinterCallback, TrainingArguments
from transformers.utils.logging import disable_progress_bar

from formers.lab.distributed import ranks
from formers.lab.train.callback import TrainingCallback
from formers.lab.train.checkpoint import seal_checkpoint
from formers.lab.train.device import device_for
from formers.lab.train.job import Job
from formers.lab.train.kept_batches import KeptBatches
from formers.lab.train.trainer import SafeTrainer
from formers.tasks.checks.examples import Collator

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LOSS_POINTS = 50  # points of training loss on a curve
_CHECKPOINTS = 4  # checkpoints along a training; what is lost by a power cut is a quarter of an arm


def make_trainer(job: Job, model: PreTrainedModel, callback: TrainingCallback) -> SafeTrainer:
    """Return Hugging Face's trainer for a job, with the data in order and no reports of its own."""
    disable_progress_bar()  # one for each checkpoint that is written
    rows = job.budget.batch_size
    count = job.examples_before + job.budget.steps * rows
    data = KeptBatches(job, job.task.build(job.seed, count, rows))
    trainer = SafeTrainer(
        model=model,
        args=_training_arguments(job),
        data_collator=Collator(job.task.task, model),
        train_dataset=Subset(data, range(job.examples_before, count)) if job.examples_before else data,
        callbacks=[callback],
    )
    trainer.seal = partial(_seal, callback)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _seal(callback: TrainingCallback, path: Path) -> None:
    """Add the best weights so far to a checkpoint whose other files are there, and seal it."""
    callback.best_weights.copy_to(path)
    study = callback.job.study
    seal_checkpoint(path, callback.job.fingerprint, study.shard, study.compute)


def _training_arguments(job: Job) -> TrainingArguments:
    budget, compute = job.budget, job.study.compute
    device = device_for(compute)
    arguments = TrainingArguments(
        output_dir=str(job.checkpoint_folder),
        max_steps=budget.steps,
        per_device_train_batch_size=ranks.local_batch_size(budget.batch_size, compute.accumulate),
        gradient_accumulation_steps=compute.accumulate,
        use_cpu=device == "cpu",
        bf16=compute.precision == "bf16",
        fp16=compute.precision == "fp16",
        torch_compile=compute.compile,
        gradient_checkpointing=compute.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if compute.checkpointing else None,
        learning_rate=budget.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(budget.warmup * budget.steps),
        weight_decay=budget.weight_decay,
        max_grad_norm=budget.clip,
        seed=job.seed,
        train_sampling_strategy="sequential",  # the dataset itself is in random order, the same for every arm
        logging_steps=max(1, budget.steps // _LOSS_POINTS),
        logging_nan_inf_filter=False,  # it would report a diverged loss as the last good one
        save_steps=max(1, budget.steps // _CHECKPOINTS),
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device == "cuda",
        **_ranks_arguments(device),
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # of several in sight, each would take a whole batch in every step
    return arguments


def _ranks_arguments(device: str) -> dict[str, Any]:
    """Return the arguments for several ranks that train together. Rank r of R takes the r-th R-th of each batch."""
    if ranks.world_size() == 1:
        return {}
    backend = "gloo" if device == "cpu" else "nccl"
    # every part trains all of its parameters: a law
    return {"ddp_backend": backend, "ddp_find_unused_parameters": False}
