"""Times and memory on a device, and the rows that they make."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import torch
from benchmarks.gpu.targets import TARGETS
from benchmarks.harness import Row
from torch import Tensor

MIB = 2**20


@dataclass
class Bench:
    """One run of a case: where it runs, and what it prints.

    Attributes:
        device: "cuda" or "cpu".
        toy: at sizes that only show that a case works.
        known: arm → what an earlier run of the case measured; None for one that hung there.
    """

    device: str
    toy: bool
    known: dict[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16

    def size(self, full: int, toy: int) -> int:
        """Return a size, or the one that stands in for it."""
        return toy if self.toy else full

    def randn(self, *shape: int, grad: bool = True) -> Tensor:
        return torch.randn(*shape, device=self.device, dtype=self.dtype).requires_grad_(grad)

    def autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device, self.dtype)

    def milliseconds(self, call: Callable[[], Any], *, repeats: int = 9, warmup: int = 3) -> float:
        """Return the median time of a call, by events of the device."""
        for _ in range(1 if self.toy else warmup):
            call()
        return median(self._once(call) for _ in range(1 if self.toy else repeats))

    def _once(self, call: Callable[[], Any]) -> float:
        if self.device != "cuda":
            start = time.perf_counter()
            call()
            return (time.perf_counter() - start) * 1e3
        start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start_event.record()
        call()
        end_event.record()
        end_event.synchronize()
        return float(start_event.elapsed_time(end_event))

    def peak_mib(self, call: Callable[[], Any]) -> float | None:
        """Return the most memory alive during a call beyond what was before it; None where no allocator tells."""
        if self.device != "cuda":
            return None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MIB

    def arm(self, label: str, run: Callable[[], Any]) -> Any:
        """Return what `run` measures, numbers; None, said with the reason, if it fails or an earlier run hung there."""
        if label in self.known:
            return self.known[label]
        self.say("start", label)
        result = None
        try:
            result = run()
        except Exception as error:  # an arm that fails must not lose the others
            self.say("failed", label, f"{type(error).__name__}: {str(error)[:300]}")
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
        self.say("end", label, json.dumps(result))
        return result

    def row(
        self, case: str, setting: str, measured: float | None, peer: float | None, unit: str = "ms", against: str = "—"
    ) -> None:
        """Print a row; its peer's name and its target are those of the table of targets, where it is in there."""
        peer_name, limit = TARGETS.get((case, setting), (against, None))
        self.say("row", json.dumps(asdict(Row(case, setting, measured, peer, peer_name, limit, unit))))

    def say(self, *words: str) -> None:
        """Print a line for the process that watches this one."""
        print(json.dumps(words), flush=True)


def step_of(call: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Callable[[], None]:
    """Return forward and backward of a function, its gradients thrown away."""
    wanted = [t for t in inputs if t.requires_grad]
    gradient: list[Tensor] = []

    def step() -> None:
        y = call(*inputs)
        if not gradient:
            gradient.append(torch.randn_like(y))
        torch.autograd.grad(y, wanted, gradient[0])

    return step


def both(bench: Bench, call: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[float, float, float | None]:
    """Return milliseconds of forward, of forward + backward, and MiB of the latter."""
    with torch.no_grad():
        forward = bench.milliseconds(lambda: call(*inputs))
    step = step_of(call, inputs)
    return forward, bench.milliseconds(step), bench.peak_mib(step)


def no_grad_or_not(train: bool) -> AbstractContextManager[object]:
    """Return the context of a forward pass alone, or of a training step."""
    return nullcontext() if train else torch.no_grad()
