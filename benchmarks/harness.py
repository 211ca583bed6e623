"""What every benchmark shares: fair timing, peak memory, rows with a target, and a file of results.

Run one from the root of the repository: `python -m benchmarks.linear`.

Candidates take turns, so that a busy moment hits all of them; a ratio is always taken within one run. Nothing is timed
before `verify` has compared it with its plain form.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from formers.testing.tolerance import assert_close_derived

RESULTS = Path(__file__).parent / "results"
SEED = 0
SHORT = 0.5
"""Seconds."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: the median, and the quarter and three-quarter points."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One measured claim.

    Attributes:
        case, setting: what was measured, and where (`L=2048`).
        measured, peer: what the op took, and what it is compared with; `unit` is that of both.
        peer_name: what the peer is.
        spread: quarter and three-quarter points of the op, where they are known.
        limit: measured/peer must be at most this; None where there is no target.
    """

    case: str
    setting: str
    measured: float
    peer: float
    peer_name: str
    limit: float | None = None
    unit: str = "ms"
    spread: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        return self.measured / self.peer

    @property
    def met(self) -> bool | None:
        return None if self.limit is None else self.ratio <= self.limit

    @property
    def target(self) -> str:
        """In words."""
        if self.limit is None:
            return "—"
        return f"≤ {self.limit:g} ×" if self.limit >= 1 else f"≥ {1 / self.limit:g} × less"


def verify(fast: Callable[..., Any], plain: Callable[..., Any], inputs: Sequence[Any]) -> None:
    """Refuses to go on with an op that does not equal its plain form, outputs and gradients."""
    assert_close_derived(fast, plain, inputs)


def timings(calls: dict[str, Callable[[], Any]], *, repeats: int = 7, warmup: int = 2) -> dict[str, Timing]:
    """Every call in turn, `repeats` times, after `warmup` rounds.

    A short call is made once more before its turn, untimed, so that it pays for what it leaves in the cache and the
    allocator itself, and not for what the candidate before it left.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    last = dict.fromkeys(calls, 0.0)
    for round_ in range(warmup + repeats):
        for name, call in calls.items():
            if last[name] < SHORT:
                call()
            gc.disable()
            begin = time.perf_counter()
            call()
            end = time.perf_counter()
            gc.enable()
            last[name] = end - begin
            if round_ >= warmup:
                taken[name].append((end - begin) * 1e3)
    return {name: timing(values) for name, values in taken.items()}


def timing(milliseconds: list[float]) -> Timing:
    ordered = sorted(milliseconds)
    return Timing(median(ordered), ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4])


def compared(
    case: str, setting: str, times: dict[str, Timing], name: str, peer: str, limit: float | None = None
) -> Row:
    """The row that compares two of the timed calls."""
    own = times[name]
    return Row(case, setting, own.median, times[peer].median, peer, limit, spread=(own.low, own.high))


def train_step(call: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Callable[[], None]:
    """Forward and backward of a function (or a module's forward), the gradients thrown away."""
    wanted = [t for t in inputs if t.requires_grad]

    def step() -> None:
        y = call(*inputs)
        torch.autograd.grad(y, wanted, torch.ones_like(y))

    return step


def product(flops: float) -> Callable[[], Tensor]:
    """One square float32 matrix product with so many floating-point operations: what the processor can do at best."""
    side = max(1, round((flops / 2) ** (1 / 3)))
    a, b = torch.randn(side, side), torch.randn(side, side)
    return lambda: a @ b


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most bytes of tensors alive at once during a call, beyond those before it, from the allocator's own records."""
    call()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def machine() -> dict[str, Any]:
    """What was measured on, and with."""
    models = [line.split(":")[1].strip() for line in cpu_lines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "seed": SEED,
    }


def cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def publish(name: str, title: str, notes: str, rows: Sequence[Row]) -> None:
    """Prints the rows and writes them to `results/<name>.json`."""
    print(f"{title}\n{notes}\n\n{table(rows)}\n")
    RESULTS.mkdir(exist_ok=True)
    content = {"title": title, "notes": notes, "machine": machine(), "rows": [asdict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def table(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| case | setting | measured | compared with | | ratio | target | met |",
        "|---|---|--:|---|--:|--:|--:|---|",
    ]
    for row in rows:
        spread = f" ({row.spread[0]:.3g}–{row.spread[1]:.3g})" if row.spread else ""
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(
            f"| {row.case} | {row.setting} | {row.measured:.3g} {row.unit}{spread} | {row.peer_name} "
            f"| {row.peer:.3g} {row.unit} | {row.ratio:.2f} | {row.target} | {met} |"
        )
    return "\n".join(lines)
