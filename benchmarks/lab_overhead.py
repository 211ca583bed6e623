"""What the lab costs on top of the training steps: everything a study does but step and, since it is asked for, evaluate."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmarks.harness import SEED, Row, publish
from transformers import Trainer

import formers.lab.study_run
import formers.lab.watch
from formers.lab import Arm, Store, Study, run
from formers.lab.quiet import quiet
from formers.tasks import Shakespeare

STEPS, ROUNDS, LIMIT = 300, 3, 1.03
NOTES = (
    "One arm of the default study (softmax) for 300 steps, in a process whose imports are done. The peer is the same model on "
    "the same batches in a bare loop: forward, backward, clip, AdamW, learning rate. `Whole study` is all of it but evaluating, "
    "which is asked for: making the data, planning, the trainer, checkpoints, the store, the model's file, samples and the page; "
    "`loop` is the trainer's part of it. Medians of three rounds, taking turns."
)


@dataclass
class Clock:
    """Seconds spent in functions, by name."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def watching(self, owner: Any, name: str, label: str) -> Iterator[None]:
        original = getattr(owner, name)

        def timed(*given: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*given, **options)
            finally:
                self.spent[label] = self.spent.get(label, 0.0) + time.perf_counter() - start

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, original)


def study(folder: Path) -> Study:
    task = Shakespeare()
    arm = Arm("softmax", {"mixer": "softmax"})
    given = Study(task=task, arms=(arm,), folder=folder)
    return replace(given, budget=replace(given.given, steps=STEPS))


def bare() -> float:
    """Seconds of the training loop and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        given = study(Path(folder))
    torch.manual_seed(SEED)
    model = given.task.model(given.config(given.arms[0])).train()
    budget = given.given
    data = given.task.build(SEED, STEPS * budget.batch_size)
    examples = [data[i] for i in range(len(data))]
    batches = [
        {name: torch.stack([example[name] for example in examples[i : i + budget.batch_size]]) for name in examples[0]}
        for i in range(0, len(examples), budget.batch_size)
    ]
    rate, decay = budget.learning_rate, budget.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=True)  # as the trainer's is
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    start = time.perf_counter()
    for batch in batches:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), budget.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return time.perf_counter() - start


def whole() -> dict[str, float]:
    """Seconds of a study, by what they went to."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        given = study(Path(folder) / "study")
        start = time.perf_counter()
        with (
            clock.watching(Shakespeare, "evaluate", "evaluating"),
            clock.watching(Shakespeare, "samples", "samples"),
            clock.watching(formers.lab.watch.Watch, "evaluate", "validation"),
            clock.watching(Trainer, "train", "trainer"),
            clock.watching(Trainer, "get_batch_samples", "making batches"),
            clock.watching(Trainer, "training_step", "forward and backward"),
            clock.watching(Trainer, "_save_checkpoint", "checkpoints"),
            clock.watching(formers.lab.study_run, "Store", "opening the store"),
            clock.watching(Store, "save", "saving the row"),
            clock.watching(formers.lab.study_run, "publish", "report"),
            clock.watching(formers.lab.study_run, "planned", "planning"),
        ):
            run(given)
        total = time.perf_counter() - start
    return {"total": total, **clock.spent}


def main() -> None:
    quiet()
    whole()  # imports, caches
    rounds: list[tuple[float, dict[str, float]]] = [(bare(), whole()) for _ in range(ROUNDS)]
    steps = median(seconds for seconds, _ in rounds)
    setting = f"{STEPS} steps"

    def row(case: str, of: Callable[[dict[str, float]], float], limit: float | None = None) -> Row:
        taken = sorted(of(spent) for _, spent in rounds)
        return Row(case, setting, median(taken), steps, "bare loop", limit, "s", (taken[0], taken[-1]))

    rows = [
        row("whole study", lambda spent: spent["total"] - spent["evaluating"], LIMIT),
        row("loop", lambda spent: spent["trainer"] - spent["validation"], LIMIT),
    ]
    parts = [name for name in rounds[0][1] if name not in ("total", "trainer", "validation")]
    rows += [
        row(f"in it: {name}" if name != "evaluating" else name, lambda spent, name=name: spent[name]) for name in parts
    ]
    publish("lab_overhead", "The lab's own time", NOTES, rows)


if __name__ == "__main__":
    main()
