"""Measuring: the laws first, then everything once to see what fits, then round after round."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random

import torch

from formers.bench.cell import Cell
from formers.bench.forecast import Forecast
from formers.bench.memory import memory_limit, peak_bytes
from formers.bench.phases import Phase
from formers.bench.plan import LEAST, Plan
from formers.bench.product import yardstick
from formers.bench.progress import Progress, Silent
from formers.bench.record import Bench, Row, Status
from formers.bench.subjects import Subject
from formers.bench.timing import seconds
from formers.machine.environment import environment, processor


def run(plan: Plan, progress: Progress | None = None) -> Bench:
    """Measures what a plan asks for. Whatever cannot be measured is a row that says why, an interrupt included.

    A part is timed only if it keeps every law of `formers.testing`. Every round times every candidate at every size, in a new
    random order; the candidates of one size follow one another, and ratios are taken among them within the round.
    """
    bench = _Measuring(plan, progress or Silent())
    stopped = False
    try:
        with threads(plan.threads), memory_limit():
            bench.all()
    except KeyboardInterrupt:
        stopped = True
    return bench.results(stopped)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device_name(device: str) -> str:
    """What the candidates ran on."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"cpu ({processor()})"


class _Measuring:
    """A bench on its way."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self.plan, self.progress = plan, progress
        self.turned_away: list[Row] = []
        self.cells: list[Cell] = []
        self.begun = time.perf_counter()
        self.yardstick, self.product_flops = yardstick(plan.device)
        self.threads = plan.threads or torch.get_num_threads()

    def all(self) -> None:
        torch.manual_seed(self.plan.seed)
        admitted = [subject for subject in self.plan.subjects if self.admits(subject)]
        for phase in self.plan.phases:
            able = [subject for subject in admitted if self.can(subject, phase)]
            self.prepare(phase, able)
        for cell in self.cells:
            cell.ready(self.yardstick, self.plan.device, self.plan.seed)
        gc.collect()
        self.rounds()

    def admits(self, subject: Subject) -> bool:
        """Whether nothing speaks against timing it, least of all its laws."""
        self.progress.stage(f"trying the laws of {subject.name}")
        objection = subject.objection(next(iter(self.plan.sweep)), self.plan.causal)
        if objection is not None:
            self.turn_away(subject, *objection)
        return objection is None

    def can(self, subject: Subject, phase: Phase) -> bool:
        """Whether there is such a phase for it."""
        objection = subject.lacks(phase, self.plan.causal)
        if objection:
            self.turn_away(subject, "unsupported", objection, phase)
        return not objection

    def turn_away(self, subject: Subject, status: Status, cause: str, phase: str = "") -> None:
        row = Row(subject=subject.name, kind=subject.kind, status=status, cause=cause, phase=phase)
        self.turned_away.append(row)

    def prepare(self, phase: Phase, subjects: list[Subject]) -> None:
        """Everything once, from small to large, to see what it takes. Two untimed calls warm each up."""
        forecasts = {subject.name: Forecast(self.plan.sweep.axis, self.plan.patience) for subject in subjects}
        for sizes in self.plan.sweep:
            cell = Cell(phase=phase, sizes=sizes)
            self.cells.append(cell)
            for subject in subjects:
                size = f"{self.plan.sweep.axis} {getattr(sizes, self.plan.sweep.axis):,}"
                self.progress.stage(f"warming up {phase} of {subject.name} at {size}")
                self.enter(cell, subject, forecasts[subject.name])

    def enter(self, cell: Cell, subject: Subject, forecast: Forecast) -> None:
        """Makes a candidate of a subject, or a row that says why not."""
        phase, sizes, causal, device = cell.phase, cell.sizes, self.plan.causal, self.plan.device
        row = cell.row(subject.name, subject.kind)
        if objection := forecast.objection(sizes):
            cell.row(subject.name, subject.kind, status=objection[0], cause=objection[1])
            return
        try:
            ready = subject.prepare(phase, sizes, causal, device)
            ready.call.once()
            took = seconds(ready.call.once, device)
            ready.call.set_up()
            peak = peak_bytes(ready.call.run, device)
        except Exception as error:  # an out-of-memory, or whatever else: a row, and the bench goes on
            cell.fail(subject.name, error)
            forecast.failed(sizes, cell.rows[subject.name])
            return
        forecast.took(sizes, took)
        cell.calls[subject.name] = ready.call
        flops = subject.flops(phase, sizes, causal)
        cell.row(row.subject, row.kind, peak_bytes=peak, state_bytes=ready.state_bytes, flops=flops)

    def rounds(self) -> None:
        """As many as wanted, or as there is time for."""
        cells = [cell for cell in self.cells if cell.calls]
        random = Random(self.plan.seed)
        self.progress.begin(self.plan.rounds * len(cells))
        for count in range(self.plan.rounds):
            spent = time.perf_counter() - self.begun
            if self.plan.seconds is not None and count >= LEAST and spent > self.plan.seconds:
                break
            for cell in random.sample(cells, len(cells)):
                self.progress.step(f"round {count + 1} of {self.plan.rounds}")
                cell.round()

    def results(self, stopped: bool) -> Bench:
        rows = self.turned_away + [row for cell in self.cells for row in cell.results()]
        return Bench(
            axis=self.plan.sweep.axis,
            reference=self.plan.reference,
            causal=self.plan.causal,
            rounds=self.plan.rounds,
            product_flops=self.product_flops,
            rows=tuple(rows),
            stopped=stopped,
            environment={**environment(), "device": _device_name(self.plan.device), "threads": str(self.threads)},
            command=self.plan.command(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )
