"""Running a benchmark: the laws first, then everything once to see what fits, then round after round."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random

import torch

from formers.bench.measuring.candidate_group import CandidateGroup
from formers.bench.measuring.forecast import Forecast
from formers.bench.measuring.memory import memory_limit, peak_bytes
from formers.bench.measuring.timing import seconds
from formers.bench.measuring.yardstick import product_dtype, yardstick
from formers.bench.phases import Phase
from formers.bench.plan import MIN_ROUNDS, BenchPlan
from formers.bench.progress import BenchProgress, SilentBenchProgress
from formers.bench.results import BenchResults, Measurement, Status
from formers.bench.subjects.subject import Subject
from formers.machine.environment import environment
from formers.part import seeded


def run_bench(plan: BenchPlan, progress: BenchProgress | None = None) -> BenchResults:
    """Measure what a plan asks for. What fails, or is interrupted, has a status and a cause instead of times.

    A part is timed only if it keeps every law of `formers.testing`. Every round times every candidate at every size, in
    a new random order; the candidates of one size follow one another, and ratios are taken among them within the round.
    """
    bench = _BenchRun(plan, progress or SilentBenchProgress())
    stopped = False
    try:
        with _threads(plan.threads), memory_limit():
            bench.measure()
    except KeyboardInterrupt:
        stopped = True
    return bench.results(stopped)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Use `count` threads while the block runs; None leaves their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _BenchRun:
    """A benchmark on its way.

    Attributes:
        turned_away: measurements of whole subjects, or of their phases, that are not timed.
        groups: one a phase and size.
    """

    def __init__(self, plan: BenchPlan, progress: BenchProgress) -> None:
        self.plan, self.progress = plan, progress
        self.turned_away: list[Measurement] = []
        self.groups: list[CandidateGroup] = []
        self.begun = time.perf_counter()
        self.product_dtype = product_dtype(plan.device, plan.dtype)
        self.yardstick, self.product_flops = yardstick(plan.device, self.product_dtype)
        self.threads = plan.threads or torch.get_num_threads()

    def measure(self) -> None:
        """Try the laws, warm everything up, and time it."""
        with seeded(self.plan.seed, torch.device(self.plan.device)):
            self._measure()

    def _measure(self) -> None:
        admitted = [subject for subject in self.plan.subjects if self.admits(subject)]
        for phase in self.plan.phases:
            able = [subject for subject in admitted if self.has_phase(subject, phase)]
            self.warm_up(phase, able)
        for group in self.groups:
            group.ready(self.yardstick, self.plan.device, self.plan.seed)
        gc.collect()
        self.time_rounds()

    def admits(self, subject: Subject) -> bool:
        """Return whether nothing speaks against timing a subject, least of all its laws."""
        self.progress.stage(f"trying the laws of {subject.name}")
        objection = subject.objection(next(iter(self.plan.sweep)), self.plan.causal)
        if objection is not None:
            self.turn_away(subject, *objection)
        return objection is None

    def has_phase(self, subject: Subject, phase: Phase) -> bool:
        """Return whether a subject has such a phase."""
        reason = subject.missing_phase(phase, self.plan.causal)
        if reason:
            self.turn_away(subject, "unsupported", reason, phase)
        return not reason

    def turn_away(self, subject: Subject, status: Status, cause: str, phase: str = "") -> None:
        """Keep a measurement of a subject that is not timed."""
        row = Measurement(subject=subject.name, kind=subject.kind, status=status, cause=cause, phase=phase)
        self.turned_away.append(row)

    def warm_up(self, phase: Phase, subjects: list[Subject]) -> None:
        """Do everything once, from small to large, to see what it takes. Two untimed calls warm each up."""
        axis = self.plan.sweep.axis
        forecasts = {subject.name: Forecast(axis, self.plan.patience) for subject in subjects}
        for sizes in self.plan.sweep:
            group = CandidateGroup(phase=phase, sizes=sizes)
            self.groups.append(group)
            for subject in subjects:
                self.progress.stage(f"warming up {phase} of {subject.name} at {axis} {getattr(sizes, axis):,}")
                self.enter(group, subject, forecasts[subject.name])

    def enter(self, group: CandidateGroup, subject: Subject, forecast: Forecast) -> None:
        """Add a subject to the candidates, or a measurement with the reason why not."""
        phase, sizes, causal, device = group.phase, group.sizes, self.plan.causal, self.plan.device
        name, kind = subject.name, subject.kind
        group.row(name, kind)
        if objection := forecast.objection(sizes):
            group.row(name, kind, status=objection[0], cause=objection[1])
            return
        try:
            with _default_dtype(getattr(torch, self.plan.dtype)):
                ready = subject.phase_call(phase, sizes, causal, device)
            ready.call.once()
            took = seconds(ready.call.once, device)
            ready.call.set_up()
            peak = peak_bytes(ready.call.run, device)
        except Exception as error:  # an out-of-memory, or whatever else: a measurement, and the benchmark goes on
            group.fail(name, error)
            forecast.failed(sizes, group.rows[name])
            return
        forecast.took(sizes, took)
        group.calls[name] = ready.call
        flops = subject.flops(phase, sizes, causal)
        group.row(name, kind, peak_bytes=peak, state_bytes=ready.state_bytes, flops=flops)

    def time_rounds(self) -> None:
        """Time as many rounds as wanted, or as there is time for."""
        groups = [group for group in self.groups if group.calls]
        random = Random(self.plan.seed)
        self.progress.begin(self.plan.rounds * len(groups))
        for count in range(self.plan.rounds):
            spent = time.perf_counter() - self.begun
            if self.plan.seconds is not None and count >= MIN_ROUNDS and spent > self.plan.seconds:
                break
            for group in random.sample(groups, len(groups)):
                self.progress.step(f"round {count + 1} of {self.plan.rounds}")
                group.round()

    def results(self, stopped: bool) -> BenchResults:
        """Return everything that was measured so far."""
        rows = self.turned_away + [row for group in self.groups for row in group.results()]
        computed = {"threads": str(self.threads), "dtype": self.plan.dtype, "product_dtype": self.product_dtype}
        return BenchResults(
            axis=self.plan.sweep.axis,
            reference=self.plan.reference,
            causal=self.plan.causal,
            rounds=self.plan.rounds,
            product_flops=self.product_flops,
            rows=tuple(rows),
            stopped=stopped,
            environment=environment(self.plan.device) | computed,
            command=self.plan.command(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let weights and inputs that are made in the block be of a dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
