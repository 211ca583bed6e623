"""The trainer's callback: it evaluates, measures time, checks that numbers are finite, and stops when asked to."""

from __future__ import annotations

from typing import Any, Self

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from formers.lab.distributed import ranks
from formers.lab.store.records import Point
from formers.lab.train.best_weights import BestWeights
from formers.lab.train.crash_counter import TrainingAttempt
from formers.lab.train.finite import check_finite, check_validation
from formers.lab.train.job import Job
from formers.lab.train.progress import Progress
from formers.lab.train.step_clock import StepClock
from formers.lab.train.stop import Stop
from formers.lab.train.undisturbed import undisturbed


class TrainingCallback(TrainerCallback):
    """Evaluates along the way, and adds what it measures to the trainer's own log, which its checkpoints keep.

    Times are those of a `StepClock`. Reading it waits for the device, so that it is read where something is measured,
    or kept, alone.
    """

    def __init__(self, job: Job, progress: Progress, stop: Stop, attempt: TrainingAttempt) -> None:
        self.job, self.progress, self.stop, self.attempt = job, progress, stop, attempt
        self.evaluation_steps = job.budget.evaluation_steps
        self.best_weights = BestWeights(job.checkpoint_folder, job.study.task.metric)
        self.clock = StepClock("cpu")  # until the training begins, on whatever device
        self.is_stopped = False  # because it was asked to

    def of_stage(self, job: Job) -> Self:
        """Return the callback of one stage of the same training."""
        return type(self)(job, self.progress, self.stop, self.attempt)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Give each rank a random state of its own, and go on with the clock of a resumed training."""
        if ranks.rank():  # each rank drops out other features; a resumed one goes on with the state in its checkpoint
            torch.manual_seed(args.seed + ranks.rank())
        before = max((entry.get("seconds", 0.0) for entry in state.log_history), default=0.0)
        self.clock = StepClock(args.device.type, before)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Start the clock."""
        self.clock.begin_step()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Stop the clock, evaluate where it is due, and end the training with a checkpoint if a stop is requested."""
        self.clock.end_step()
        if state.global_step in self.evaluation_steps:
            self.evaluate(given["model"], state)
        self.progress.step(self.job.label, self.job.steps_before + state.global_step)
        if ranks.any_rank(self.stop.requested):
            control.should_save = control.should_training_stop = self.is_stopped = True
        elif self.stop.save_requested:
            self.stop.save_requested, control.should_save = False, True
        if control.should_save:  # the clock goes into the checkpoint
            state.log_history.append({"step": state.global_step, "seconds": self.clock.seconds})

    def evaluate(self, model: Any, state: TrainerState) -> None:
        """Measure the validation metrics, log them, and keep the weights if they are the best so far.

        Raises:
            TaskError: where the task returns something else than metrics.
            Diverged: where a metric is not finite.
        """
        with undisturbed():
            values = ranks.broadcast_from_rank0(self.job.task.evaluate(model, "validation").metrics)
        check_validation(self.job, model, values, state.global_step)
        model.train()  # as it was, in whatever mode a user's own task leaves it
        state.log_history.append({"step": state.global_step, "seconds": self.clock.seconds, "values": values})
        self.best_weights.offer(model, state.global_step, values[self.best_weights.metric.name])
        self.progress.measured(self.job.label, self.job.steps_before + state.global_step, values)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **given: Any,
    ) -> None:
        """Add the clock to the trainer's log of the loss, and record how far the training is.

        Raises:
            Diverged: where the loss is not finite.
        """
        if logs is None or "loss" not in logs:
            return  # the trainer's summary at the end
        self.attempt.record_step(self.job.steps_before + state.global_step)
        values = {"train_loss": logs["loss"]}
        state.log_history[-1] |= {"seconds": self.clock.seconds, "values": values}
        check_finite(values, state.global_step)
        self.progress.measured(self.job.label, self.job.steps_before + state.global_step, values)


def curve_points(log: list[dict[str, Any]]) -> tuple[Point, ...]:
    """Return the points in a trainer's log: everything measured after the same step is one point."""
    points: dict[int, Point] = {}
    for entry in log:
        if "values" in entry:
            before = points[entry["step"]].values if entry["step"] in points else {}
            points[entry["step"]] = Point(
                step=entry["step"], seconds=entry["seconds"], values={**before, **entry["values"]}
            )
    return tuple(points[step] for step in sorted(points))
