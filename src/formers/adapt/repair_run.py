"""The whole repair of a model: swapped, its attention transferred, tuned; measured before and after each stage."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from formers.adapt.json_lines import JsonLines, hash_of_model, hash_of_tokens
from formers.adapt.lora import LoraOptions
from formers.adapt.repair import distill
from formers.adapt.streamed_transfer import stream_transfer
from formers.adapt.swap_costs import mean_nats
from formers.adapt.swap_speed import SwapSpeed, generation_costs
from formers.lab.study.budget import Budget
from formers.machine.memory import is_out_of_memory
from formers.models.pretrained import FormersModel

STAGES = ("as it was", "swapped", "after transfer", "after tuning")
STATE_LENGTHS = (1024, 8192, 32768)
"""Tokens after which states are counted."""
StageProgress = Callable[[str, int, int], object]
"""Called with the name of a stage, the steps that are done, and those of all."""


@dataclass(frozen=True, kw_only=True)
class RepairPlan:
    """The stages of a repair.

    Attributes:
        transfer: of each new mixer; None leaves this stage out.
        tuning: of the whole model; None leaves it out.
        lora: adapters that are tuned; None tunes all weights.
        lengths: of prompts that are timed before and after the swap.
        seed: of the order of the text.
        bf16: whether the training multiplies in bfloat16.
    """

    transfer: Budget | None = None
    tuning: Budget | None = None
    lora: LoraOptions | None = None
    lengths: tuple[int, ...] = ()
    seed: int = 0
    bf16: bool = False


@dataclass(frozen=True, kw_only=True)
class RepairStage:
    """The model after a stage.

    Attributes:
        name: one of `STAGES`.
        nats: mean −log p of a token of the held-out text.
        seconds: that the stage took, measuring left out; of the last attempt, if it was stopped.
        states: length → bytes of one row's state, counted; None for a model that keeps none.
        speeds: times and memory at the plan's lengths; empty after the swap, as training changes nothing of it.
        losses: of the training, along its steps, averaged over layers.
    """

    name: str
    nats: float
    seconds: float = 0.0
    states: dict[int, int | None]
    speeds: tuple[SwapSpeed, ...] = ()
    losses: tuple[float, ...] = ()

    @property
    def perplexity(self) -> float:
        """exp(nats)."""
        return math.exp(self.nats)


def repair_model(
    teacher: FormersModel,
    student: FormersModel,
    rows_nl: Tensor,
    held_out_nl: Tensor,
    folder: Path,
    plan: RepairPlan,
    *,
    progress: StageProgress | None = None,
) -> list[RepairStage]:
    """Repair a student, in place, and return what it is before and after each stage.

        student = convert(teacher, ["linear(feature=hedgehog)", "softmax()"]).model
        repair_model(teacher, student, rows, held_out, Path("repair"), RepairPlan(transfer=Budget(steps=100), …))

    A call that was stopped or killed goes on from its last checkpoint in `folder`, to the same weights.

    Args:
        rows_nl: text to learn from, (N, L).
        held_out_nl: text to measure, (M, L) with M ≥ 2: the first quarter of the rows chooses the best weights along
            the tuning, and the others are what is reported.

    Raise ValueError for a folder of another repair, and for fewer rows.
    """
    if len(held_out_nl) < 2 or not len(rows_nl):
        raise ValueError(
            f"{len(rows_nl)} rows to learn from and {len(held_out_nl)} held out were given; "
            "at least 1 and 2 are needed: give a longer text or shorter rows"
        )
    run = _Run(teacher, student, rows_nl, held_out_nl, folder, plan, progress)
    run.measure(0, teacher)
    run.measure(1, student)
    if plan.transfer is not None:
        run.transfer()
    if plan.tuning is not None:
        run.tune()
    return run.stages


class _Run:
    """A repair on its way; its stages lie in a file."""

    def __init__(
        self,
        teacher: FormersModel,
        student: FormersModel,
        rows_nl: Tensor,
        held_out_nl: Tensor,
        folder: Path,
        plan: RepairPlan,
        progress: StageProgress | None,
    ):
        self.teacher, self.student, self.rows_nl = teacher, student, rows_nl
        self.folder, self.plan, self.progress = folder, plan, progress
        choosing = max(1, len(held_out_nl) // 4)
        self.choosing_nl, self.reported_nl = held_out_nl[:choosing], held_out_nl[choosing:]
        header: dict[str, Any] = {"teacher": hash_of_model(teacher), "student": hash_of_model(student)}
        header |= {"text": hash_of_tokens(rows_nl), "held_out": hash_of_tokens(held_out_nl)}
        header |= {"plan": asdict(plan)}
        self.kept = JsonLines(folder / "stages.jsonl", header, "another repair")
        self.stages = [stage_of(line) for line in self.kept.lines]

    def measure(self, stage: int, model: FormersModel, seconds: float = 0.0, losses: tuple[float, ...] = ()) -> None:
        """Keep what a model is after a stage, unless that is known."""
        if any(known.name == STAGES[stage] for known in self.stages):
            return
        self.report(stage, 0, 1)
        trained = stage > 1  # its states are as large as before
        found = RepairStage(
            name=STAGES[stage],
            nats=mean_nats(model, self.reported_nl),
            seconds=seconds,
            states=self.stages[1].states if trained else {n: model.state_bytes(n) for n in STATE_LENGTHS},
            speeds=() if trained else tuple(_speed(model, STAGES[stage], n) for n in self.plan.lengths),
            losses=losses,
        )
        self.stages.append(found)
        self.kept.add(_as_json(asdict(found)))
        self.report(stage, 1, 1)

    def transfer(self) -> None:
        """Teach the new mixers."""
        assert self.plan.transfer is not None
        begin = time.perf_counter()
        losses = stream_transfer(
            self.teacher,
            self.student,
            self.rows_nl,
            self.folder / "transfer",
            self.plan.transfer,
            seed=self.plan.seed,
            bf16=self.plan.bf16,
            progress=lambda done, total: self.report(2, done, total),
        )
        means = tuple(sum(step) / len(step) for step in zip(*losses.values(), strict=True))
        self.measure(2, self.student, time.perf_counter() - begin, means)

    def tune(self) -> None:
        """Tune the whole model."""
        assert self.plan.tuning is not None
        begin = time.perf_counter()
        losses = distill(
            self.teacher,
            self.student,
            self.rows_nl,
            self.folder / "tuning",
            self.plan.tuning,
            seed=self.plan.seed,
            lora=self.plan.lora,
            held_out_nl=self.choosing_nl,
            bf16=self.plan.bf16,
            progress=lambda done, total: self.report(3, done, total),
        )
        self.measure(3, self.student, time.perf_counter() - begin, tuple(losses))

    def report(self, stage: int, done: int, total: int) -> None:
        """Tell how far a stage is."""
        if self.progress is not None:
            self.progress(STAGES[stage], done, total)


def stage_of(line: dict[str, Any]) -> RepairStage:
    """Return the stage that a line of the file describes."""
    states = {int(length): size for length, size in line["states"].items()}
    speeds = tuple(SwapSpeed(**speed) for speed in line["speeds"])
    return RepairStage(**line | {"states": states, "speeds": speeds, "losses": tuple(line["losses"])})


def _as_json(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree as it is when it has been written and read again."""
    read: dict[str, Any] = json.loads(json.dumps(tree))
    return read


def _speed(model: FormersModel, name: str, length: int) -> SwapSpeed:
    """Return the times of a model at one length; what runs out of memory says so."""
    try:
        return SwapSpeed(name, length, **generation_costs(model, length, streams=model.streaming))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return SwapSpeed(name, length, failure="out of memory")
