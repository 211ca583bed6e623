"""The time of steps on a processor, and on an imitated GPU: it takes work, and the host goes on."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from formers.lab import Budget, Study, run
from formers.lab.train import callback, step_clock
from formers.lab.train.step_clock import StepClock
from formers.lab.train.trainer import SafeTrainer


class Machine:
    """A host and a device, each with its time; `waits` are those that the host has waited for the device."""

    def __init__(self) -> None:
        self.host = self.device = 0.0
        self.waits: list[float] = []

    def work(self, host: float, device: float) -> None:
        """Let the host compute, and launch work that takes the device so long, after what it has to do already."""
        self.host += host
        self.device = max(self.device, self.host) + device

    def wait(self, until: float) -> None:
        if until > self.host:
            self.waits.append(until - self.host)
            self.host = until


class Event:
    """A CUDA event of an imitated device."""

    machine: Machine

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = self.machine.device = max(self.machine.host, self.machine.device)

    def query(self) -> bool:
        return self.at <= self.machine.host

    def synchronize(self) -> None:
        self.machine.wait(self.at)

    def elapsed_time(self, end: Event) -> float:
        return 1000 * (end.at - self.at)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Event.machine = Machine()
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(step_clock, "time", SimpleNamespace(perf_counter=lambda: found.host))
    return found


STEPS, BATCH = 500, 0.4
LAUNCH = {"the device is slower": (0.1, 1.0), "the host is slower": (1.0, 0.1), "both alike": (0.7, 0.7)}


@pytest.mark.parametrize("case", LAUNCH)
@pytest.mark.parametrize("every", [1, 10, STEPS], ids="read every {}".format)
def test_a_gpu_has_the_time_of_its_steps(machine: Machine, case: str, every: int) -> None:
    """Half of a step is launched, then the other half: what the device waits for inside a step is in its time."""
    host, device = LAUNCH[case]
    clock = StepClock("cuda", seconds=7.0)
    for step in range(1, STEPS + 1):
        machine.host += BATCH  # a batch is made while the device works on
        clock.begin_step()
        machine.work(host / 2, device / 2)
        machine.work(host / 2, device / 2)
        clock.end_step()
        if step % every == 0:
            told = clock.seconds
            machine.wait(machine.device)  # the trainer reads its loss
    slowest = max(host, device)
    assert slowest * STEPS <= told - 7.0 <= (slowest + min(host, device)) * STEPS
    if case == "the device is slower" and every > 1:
        assert told - 7.0 == pytest.approx(device * STEPS, rel=0.02)


def test_no_step_waits_for_the_device(machine: Machine) -> None:
    clock = StepClock("cuda")
    for _ in range(STEPS):
        clock.begin_step()
        machine.work(0.001, 1.0)
        clock.end_step()
    assert not machine.waits
    assert clock.seconds == pytest.approx(STEPS, rel=0.01)
    assert len(machine.waits) == 1


def test_what_has_ended_is_not_kept(machine: Machine) -> None:
    clock = StepClock("cuda")
    for _ in range(STEPS):
        machine.host += 2.0
        clock.begin_step()
        machine.work(0.1, 1.0)
        clock.end_step()
    assert len(clock._open) <= step_clock._OPEN + 1


def test_a_processor_has_the_time_between_start_and_end(machine: Machine) -> None:
    clock = StepClock("cpu", seconds=7.0)
    for _ in range(10):
        machine.host += BATCH
        clock.begin_step()
        machine.host += 0.5
        clock.end_step()
    assert clock.seconds == pytest.approx(12.0)


def test_a_training_has_the_time_of_its_device(one_arm: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step launches 10 ms of work, and a loss that is read waits for all of it."""

    class Sleeping(Machine):
        """The host's time is the real one."""

        def wait(self, until: float) -> None:
            time.sleep(max(0.0, until - time.perf_counter()))

        def launch(self) -> None:
            self.device = max(self.device, time.perf_counter()) + 0.01

    def record(event: Event) -> None:
        event.at = max(time.perf_counter(), machine.device)

    def launch(trainer: SafeTrainer, *given: Any) -> Any:
        machine.launch()
        return step(trainer, *given)

    def item(tensor: torch.Tensor) -> Any:
        machine.wait(machine.device)
        return read(tensor)

    machine = Event.machine = Sleeping()
    step, read = SafeTrainer._forward_and_backward, torch.Tensor.item
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(Event, "record", record)
    monkeypatch.setattr(SafeTrainer, "_forward_and_backward", launch)
    monkeypatch.setattr(torch.Tensor, "item", item)
    monkeypatch.setattr(callback, "StepClock", lambda device, seconds=0.0: StepClock("cuda", seconds))
    [row] = run(replace(one_arm, budget=Budget(steps=30, batch_size=2, evaluations=1))).rows
    assert 0.3 <= row.train_seconds < 3
    assert row.tokens_per_second == pytest.approx(30 * 2 * 16 / row.train_seconds)
