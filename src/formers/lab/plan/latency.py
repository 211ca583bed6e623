"""The latency of models: seconds of a forward pass over one example, measured once and kept in the study's folder."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from formers.lab.plan.step_time import machine_facts
from formers.lab.train.device import autocast, device_for
from formers.lab.train.initial_weights import seeded_model
from formers.lab.train.job import Job
from formers.machine.files import write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.tasks.checks.examples import Collator
from formers.tasks.task import digest

_FILE = "latency.json"
_WARM_UP, _TIMED = 3, 20
_ANEW = "restore a copy, or move it away to measure anew, which may change which trials are beyond the limit"


def latency_of(job: Job, keep: bool = True) -> float:
    """Return the seconds of a forward pass over one example of a job's task, the median of several.

    Measured once for a study and kept in its folder, unless `keep` is False, so that a search which is started again
    draws the same trials.
    """
    path = job.study.folder / _FILE
    known = _read(path) if path.is_file() else {}
    compute = job.study.compute
    key = digest([job.task.task, job.config.to_json_string(), compute.given, machine_facts(compute.device)])
    if key not in known:
        known[key] = measure_latency(job)
        if keep:
            write_atomically(path, json.dumps(sealed({**known}), indent=1) + "\n")
    return known[key]


def measure_latency(job: Job) -> float:
    """Return the seconds of a forward pass over one example, in eval mode and without gradients."""
    device = device_for(job.study.compute)
    model = seeded_model(job.task, job.config, 0).to(device).eval()
    batch = Collator(job.task.task, model)([job.task.build(0, 1, 1)[0]])
    batch = {name: value.to(device) for name, value in batch.items() if isinstance(value, Tensor)}
    seconds = []
    with torch.inference_mode(), autocast(device, job.study.compute.precision):
        for _ in range(_WARM_UP + _TIMED):
            start = time.perf_counter()
            model(**batch)
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return median(seconds[_WARM_UP:])


def _read(path: Path) -> dict[str, float]:
    """Return what was measured before. Raise ValueError for a file that holds anything else."""
    try:
        known = unsealed(json_from_text(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}; {_ANEW}") from None
    for seconds in known.values():
        if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
            raise ValueError(f"{path} cannot be read: a latency is a positive number of seconds; {_ANEW}")
    return known
