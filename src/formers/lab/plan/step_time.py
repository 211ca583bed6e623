"""The time that training steps of arms take, measured side by side: what it takes to give arms equal time."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from formers.lab.train.carried_memory import CarriedMemory
from formers.lab.train.device import autocast, device_for
from formers.lab.train.initial_weights import seeded_model
from formers.machine.environment import environment
from formers.machine.files import write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.tasks.checks.examples import Collator
from formers.tasks.task import BEGINS, digest

if TYPE_CHECKING:
    from formers.lab.study.study import Study
    from formers.models import TransformerConfig

_FILE = "pace.json"
_WARM_UP, _ROUNDS = 3, 15
_ANEW = "restore a copy, or move it away to measure anew, which may give arms other numbers of steps"


def relative_step_time(study: Study, config: TransformerConfig, base: TransformerConfig, keep: bool = True) -> float:
    """Return seconds of a step of `config` over seconds of a step of `base`.

    Measured once for a study and kept in its folder, unless `keep` is False, so that a study which is started again
    means the same thing.
    """
    path = study.folder / _FILE
    known = _read_times(path) if path.is_file() else {}
    computed = [study.compute.given] if study.compute.given else []
    both = [config.to_json_string(), base.to_json_string()]
    key = digest([study.task, study.budget.batch_size, *both, machine_facts(study.compute.device), *computed])
    if key not in known:
        known[key] = measure_relative_step_time(study, config, base)
        if keep:
            write_atomically(path, json.dumps(sealed({**known}), indent=1) + "\n")
    return known[key]


def _read_times(path: Path) -> dict[str, float]:
    """Return the relative times that were measured before. Raise ValueError for a file that holds anything else."""
    try:
        times = unsealed(json_from_text(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}; {_ANEW}") from None
    for time_of in times.values():
        if type(time_of) not in (int, float) or not 0 < time_of < math.inf:
            raise ValueError(f"{path} cannot be read: a relative time of a step is a positive number; {_ANEW}")
    return times


def measure_relative_step_time(study: Study, config: TransformerConfig, base: TransformerConfig) -> float:
    """Return the median, over rounds in which both take one step, of the seconds of `config` over those of `base`."""
    timers = [StepTimer(study, config), StepTimer(study, base)]
    for _ in range(_WARM_UP):
        for timer in timers:
            timer.time_step()
    rounds = [[timer.time_step() for timer in timers] for _ in range(_ROUNDS)]
    return median(own / other for own, other in rounds)


class StepTimer:
    """Training steps of a fresh model on one batch, with a learning rate of 0: weights stay as they are."""

    def __init__(self, study: Study, config: TransformerConfig) -> None:
        self.compute, self.device = study.compute, device_for(study.compute)
        self.model = seeded_model(study.checked_task, config, 0).to(self.device).train()
        if self.compute.checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.step = torch.compile(self.model) if self.compute.compile else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0)
        rows = study.budget.batch_size // self.compute.accumulate
        data = study.checked_task.build(0, rows, rows)
        batch = Collator(study.task, self.model)([data[i] for i in range(rows)])
        batch = {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in batch.items()}
        self.memory = CarriedMemory(self.model)
        self.memory.fill(batch)  # most steps of a training have a full one
        self.batch = batch | ({BEGINS: [False] * rows} if BEGINS in batch else {})

    def time_step(self) -> float:
        """Take one step, and return the seconds that it took."""
        start = time.perf_counter()
        for _ in range(self.compute.accumulate):
            with autocast(self.device, self.compute.precision):
                loss = self.step(**self.memory.enter(self.batch)).loss
            loss.backward()
            self.memory.leave()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def machine_facts(device: str) -> dict[str, Any]:
    """Return what a measured time depends on besides the model: the device, the threads, the version of torch."""
    facts = environment(device)
    return {name: facts[name] for name in ("device", "threads", "torch")}
