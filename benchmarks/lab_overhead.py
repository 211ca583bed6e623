"""What the lab costs on top of the training steps: everything a study does but step and, since they are asked for,
evaluate and write samples."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmarks.harness import SEED, Row, publish
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler
from transformers import Trainer

import formers.lab.run_study
import formers.lab.store.database
import formers.lab.train.callback
import formers.lab.train.trainer
import formers.lab.train.training
from formers.lab import Arm, Store, Study, run
from formers.lab.study.budget import Budget
from formers.lab.train.best_weights import BestWeights
from formers.lab.train.progress import Silent
from formers.lab.train.trainer import SafeTrainer
from formers.machine.quiet_libraries import quiet_libraries
from formers.tasks import Shakespeare

STEPS, ROUNDS, LIMIT = 300, 3, 1.03
NOTES = (
    "A study on Shakespeare, in a process whose imports are done. `Whole study` is all of it but evaluating and "
    "writing samples, which are asked for: the training steps, and what the lab adds, which is making the batches, "
    "planning, the trainer, checkpoints, the store, counting costs, the model's file, the page. `Its steps` are the "
    "forward and backward passes, clipping, AdamW and the learning rate, timed inside the same study. The bare loop "
    "makes the same steps on the same batches, made beforehand, in a loop of its own, just before the arm; two loops "
    "in turn differ by up to a tenth on this machine, either way, so it has no target; the aim is the default study's. "
    f"One arm is softmax for {STEPS} steps: medians of {ROUNDS} studies. The default study is what `formers ablate "
    "shakespeare` runs: once. MLflow's "
    "tables are made in the first study of a user, and are not in the others. Seconds are of the processor, so that "
    "what else runs on the machine counts for little."
)


def watched() -> list[tuple[Any, str, str]]:
    """The functions that are timed: where each is, its name, and what it does."""
    return [
        (Shakespeare, "evaluate", "evaluating"),
        (Shakespeare, "samples", "samples"),
        (formers.lab.train.callback.TrainingCallback, "evaluate", "validation"),
        (Trainer, "train", "trainer"),
        (Trainer, "get_batch_samples", "making batches"),
        (SafeTrainer, "training_step", "forward and backward"),
        (SafeTrainer, "_clip_grad_norm", "clipping"),
        (torch.optim.AdamW, "step", "AdamW"),
        (LRScheduler, "step", "learning rate"),
        (formers.lab.train.trainer, "_forget_gradients", "forgetting gradients"),
        (Trainer, "_save_checkpoint", "checkpoints"),
        (BestWeights, "offer", "keeping the best weights"),
        (formers.lab.train.training, "count_costs", "counting costs"),
        (formers.lab.train.training, "starting_model", "initial weights"),
        (formers.lab.train.training, "save_model", "the model's file"),
        (formers.lab.run_study, "Store", "opening the store"),
        (Store, "save", "saving the row"),
        (formers.lab.run_study, "write_report", "report"),
        (formers.lab.run_study, "plan_jobs", "planning"),
    ]


STEP = ("forward and backward", "clipping", "AdamW", "learning rate", "forgetting gradients")
"""What a training step is made of."""
ASKED = ("evaluating", "samples")


@dataclass
class Clock:
    """Seconds spent in functions, by name."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def watching(self, owner: Any, name: str, label: str) -> Iterator[None]:
        original = getattr(owner, name)

        @wraps(original)  # with the mark that torch leaves on a step with hooks
        def timed(*given: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return original(*given, **options)
            finally:
                self.spent[label] = self.spent.get(label, 0.0) + time.process_time() - start

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, original)


class Paired(Silent):
    """Runs the bare loop of each arm before the arm begins, and keeps what these took."""

    def __init__(self, study: Study, clock: Clock) -> None:
        self.arms = {arm.name: arm for arm in study.arms}
        self.study, self.clock, self.loops, self.paused = study, clock, 0.0, 0.0

    def begin(self, label: str, steps: int) -> None:
        start, before = time.process_time(), dict(self.clock.spent)
        self.loops += bare(self.study, self.arms[label])
        self.clock.spent = before
        self.paused += time.process_time() - start


def bare(study: Study, arm: Arm) -> float:
    """Seconds of an arm's training loop and nothing else."""
    budget, task = study.budget, study.task
    torch.manual_seed(SEED)
    model = task.model(study.config(arm)).train()
    batches = made(study)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=budget.learning_rate,
        weight_decay=budget.weight_decay,
        fused=True,  # as the trainer's is
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warm(budget))
    gc.collect()  # or Python looks through what making the batches has left, again and again
    start = time.process_time()
    for batch in batches:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), budget.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return time.process_time() - start


def made(study: Study) -> list[dict[str, Tensor]]:
    """All batches of a training."""
    size = study.budget.batch_size
    data = study.task.build(SEED, study.budget.steps * size)
    batches = []
    for first in range(0, len(data), size):
        examples = [data[i] for i in range(first, first + size)]
        batches.append({name: torch.stack([example[name] for example in examples]) for name in examples[0]})
    return batches


def warm(budget: Budget) -> Callable[[int], float]:
    """A linear warm-up and decay: what a schedule costs, and weights that stay finite."""
    rise = max(1, round(budget.warmup * budget.steps))
    return lambda step: min(1.0, step / rise, (budget.steps - step) / (budget.steps - rise))


def whole(study: Study) -> dict[str, float]:
    """Seconds of a study and of its bare loops, by what they went to."""
    torch.optim.AdamW([torch.zeros(1)])  # the first one puts torch's hooks around `step`: they are part of a step
    clock = Clock()
    progress = Paired(study, clock)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as watching:
        for owner, name, label in watched():
            watching.enter_context(clock.watching(owner, name, label))
        start = time.process_time()
        run(replace(study, folder=Path(folder) / "study"), progress)
        total = time.process_time() - start - progress.paused
    return {"total": total, "bare loop": progress.loops, **clock.spent}


def one_arm(steps: int) -> Study:
    study = Study(task=Shakespeare(), arms=(Arm("softmax", {"mixer": "softmax"}),))
    return replace(study, budget=replace(study.budget, steps=steps))


def rows(setting: str, rounds: list[dict[str, float]], aim: float | None = None) -> list[Row]:
    """What whole studies took, and what parts of them did, beside their steps; at most `aim` times as much."""

    def row(case: str, names: tuple[str, ...], peer: str = "its steps", limit: float | None = None) -> Row:
        taken = sorted(sum(spent[name] for name in names) for spent in rounds)
        beside = median(spent[peer] for spent in rounds)
        return Row(case, setting, median(taken), beside, peer, limit, "s", (taken[0], taken[-1]))

    for spent in rounds:
        spent["its steps"] = sum(spent[name] for name in STEP)
        spent["whole"] = spent["total"] - sum(spent[name] for name in ASKED)
        spent["loop"] = spent["trainer"] - spent["validation"]
    sums = ("total", "bare loop", "trainer", "validation", "its steps", "whole", "loop")
    return [
        row("whole study", ("whole",), limit=aim),
        row("whole study", ("whole",), "bare loop"),
        row("trainer's loop", ("loop",)),
        *(row(f"in it: {name}", (name,)) for name in rounds[0] if name not in (*sums, *ASKED)),
        *(row(f"beside it: {name}", (name,)) for name in ASKED),
    ]


def tables() -> float:
    """Seconds of making MLflow's tables anew."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        formers.lab.store.database.create_tables(Path(folder) / "mlflow.db")
        return time.process_time() - start


def main() -> None:
    quiet_libraries()
    whole(one_arm(20))  # imports, caches
    one = rows(f"one arm, {STEPS} steps", [whole(one_arm(STEPS)) for _ in range(ROUNDS)])
    default = Study(task=Shakespeare())
    setting = f"default study, {len(default.arms)} × {default.budget.steps} steps"
    all_arms = rows(setting, [whole(default)], LIMIT)
    first = Row(
        "the first study of a user: MLflow's tables",
        f"one arm, {STEPS} steps",
        tables(),
        one[0].peer,
        "its steps",
        None,
        "s",
    )
    publish("lab_overhead", "The lab's own time", NOTES, [*all_arms, *one, first])


if __name__ == "__main__":
    main()
