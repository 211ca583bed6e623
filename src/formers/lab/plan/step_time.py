"""How long a training step of one arm takes compared with another's: what it takes to give arms equal time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from formers.lab.train.initial_weights import seeded_model
from formers.machine.environment import environment
from formers.machine.files import write_atomically
from formers.tasks.task import digest

if TYPE_CHECKING:
    from formers.lab.study.study import Study
    from formers.models import TransformerConfig

_FILE = "pace.json"
WARM_UP, ROUNDS = 3, 15


class Steps:
    """Training steps of a fresh model, one at a time, on the same batch."""

    def __init__(self, study: Study, config: TransformerConfig) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = seeded_model(study.task, config, 0).to(device).train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.0)
        data = study.task.build(0, study.given.batch_size)
        examples = [data[i] for i in range(study.given.batch_size)]
        self.batch = {name: torch.stack([e[name] for e in examples]).to(device) for name in examples[0]}

    def seconds(self) -> float:
        """Takes one step."""
        start = time.perf_counter()
        self.model(**self.batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start


def slowness(study: Study, config: TransformerConfig, base: TransformerConfig) -> float:
    """Seconds of a step of `config` over seconds of a step of `base`: the median over rounds in which both take one.

    Measured once for a study and kept in its folder, so that a study which is started again means the same thing.
    """
    path = study.place / _FILE
    known: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    key = digest([study.task, study.given.batch_size, config.to_json_string(), base.to_json_string(), _machine()])
    if key not in known:
        known[key] = measured(study, config, base)
        _write(path, known)
    return known[key]


def measured(study: Study, config: TransformerConfig, base: TransformerConfig) -> float:
    steps = [Steps(study, config), Steps(study, base)]
    for _ in range(WARM_UP):
        for step in steps:
            step.seconds()
    rounds = [[step.seconds() for step in steps] for _ in range(ROUNDS)]
    return median(own / other for own, other in rounds)


def _machine() -> dict[str, Any]:
    facts = environment()
    return {name: facts[name] for name in ("device", "threads", "torch")}


def _write(path: Path, known: dict[str, float]) -> None:
    write_atomically(path, json.dumps(known, indent=1) + "\n")
