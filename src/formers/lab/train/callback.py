"""What a training is watched for: its curve, its time, divergence, and a wish to stop."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from formers.lab.distributed import ranks
from formers.lab.plan.job import Job
from formers.lab.store.records import Point
from formers.lab.train.best_weights import Best
from formers.lab.train.crash_counter import Attempt
from formers.lab.train.progress import Progress
from formers.lab.train.stop import Stop


class Diverged(ArithmeticError):
    """The loss or a metric is no longer a number."""


class Watch(TrainerCallback):
    """Evaluates along the way, and adds what it measures to the trainer's own log, which its checkpoints keep.

    The clock runs from the start to the end of each step: making batches, evaluating and saving are not training time.
    """

    def __init__(self, job: Job, progress: Progress, stop: Stop, attempt: Attempt) -> None:
        self.job, self.progress, self.stop, self.attempt = job, progress, stop, attempt
        self.due = job.budget.evaluation_steps
        self.best = Best(job.checkpoints, job.study.task.metric)
        self.seconds = self.since = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        if ranks.rank():  # each rank drops out other features; a resumed one goes on with the state in its checkpoint
            torch.manual_seed(args.seed + ranks.rank())
        self.seconds = max((entry.get("seconds", 0.0) for entry in state.log_history), default=0.0)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self.since = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        evaluate = state.global_step in self.due
        if evaluate and args.device.type == "cuda":
            torch.cuda.synchronize()  # steps still in flight are training time
        self.seconds += time.perf_counter() - self.since
        if evaluate:
            self.evaluate(given["model"], state)
        self.progress.step(self.job.label, state.global_step)
        if ranks.anyone(self.stop.requested):
            control.should_save = control.should_training_stop = True
        if control.should_save:  # the clock goes into the checkpoint
            state.log_history.append({"step": state.global_step, "seconds": self.seconds})

    def evaluate(self, model: Any, state: TrainerState) -> None:
        values = ranks.broadcast_from_rank0(self.job.study.task.evaluate(model, "validation").metrics)
        model.train()  # as it was, whatever a task of one's own leaves
        check_finite(values, state.global_step)
        state.log_history.append({"step": state.global_step, "seconds": self.seconds, "values": values})
        self.best.offer(model, state.global_step, values[self.best.metric.name])
        self.progress.measured(self.job.label, state.global_step, values)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **given: Any,
    ) -> None:
        if logs is None or "loss" not in logs:
            return  # the trainer's summary at the end
        self.attempt.reached(state.global_step)
        values = {"train_loss": logs["loss"]}
        state.log_history[-1] |= {"seconds": self.seconds, "values": values}
        check_finite(values, state.global_step)
        self.progress.measured(self.job.label, state.global_step, values)


def check_finite(values: dict[str, float], step: int) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise Diverged(f"{name} is {value} after {step} steps; try a lower learning rate or a longer warmup")


def curve(log: list[dict[str, Any]]) -> tuple[Point, ...]:
    """The points in a trainer's log: everything measured after the same step is one point."""
    points: dict[int, Point] = {}
    for entry in log:
        if "values" in entry:
            before = points[entry["step"]].values if entry["step"] in points else {}
            points[entry["step"]] = Point(
                step=entry["step"], seconds=entry["seconds"], values={**before, **entry["values"]}
            )
    return tuple(points[step] for step in sorted(points))
