"""What every benchmark shares: fair timing, peak memory, rows with a target, and a file of results.

Run one from the root of the repository: `python -m benchmarks.linear`.

Candidates take turns, so that a busy moment hits all of them; a ratio is always taken within one run. Nothing is timed
before `verify` has compared it with its plain form.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from formers.bench.measuring.memory import peak_bytes as measured_peak
from formers.bench.measuring.timing import Call, Turns
from formers.bench.measuring.yardstick import square_product
from formers.testing.tolerance import assert_close_derived

__all__ = [
    "RESULTS",
    "SEED",
    "Row",
    "Timing",
    "compared",
    "peak_bytes",
    "publish",
    "square_product",
    "table",
    "timings",
    "train_step",
    "verify",
]

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
        measured, peer: what the op took, and what it is compared with; `unit` is that of both. None: not measured.
        peer_name: what the peer is.
        spread: quarter and three-quarter points of the op, where they are known.
        limit: measured/peer must be at most this; None where there is no target.
    """

    case: str
    setting: str
    measured: float | None
    peer: float | None
    peer_name: str
    limit: float | None = None
    unit: str = "ms"
    spread: tuple[float, float] | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.measured is None or self.peer is None else self.measured / self.peer

    @property
    def met(self) -> bool | None:
        return None if self.limit is None or self.ratio is None else self.ratio <= self.limit

    @property
    def target(self) -> str:
        """In words."""
        if self.limit is None:
            return "—"
        return f"≤ {self.limit:g} ×" if self.limit >= 1 else f"≥ {1 / self.limit:.3g} × less"


def verify(fast: Callable[..., Any], plain: Callable[..., Any], inputs: Sequence[Any]) -> None:
    """Refuses to go on with an op that does not equal its plain form, outputs and gradients."""
    assert_close_derived(fast, plain, inputs)


def timings(calls: dict[str, Callable[[], Any]], *, repeats: int = 7, warmup: int = 2) -> dict[str, Timing]:
    """Every call once in each of `repeats` rounds, in a new random order each, after `warmup` rounds.

    A call that is shorter than `SHORT` is made once more before its turn, untimed.
    """
    turns = Turns({name: Call(run=call) for name, call in calls.items()}, seed=SEED, short=SHORT)
    rounds = [turns.round() for _ in range(warmup + repeats)][warmup:]
    return {name: timing([taken[name] * 1e3 for taken in rounds]) for name in calls}


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


def peak_bytes(call: Callable[[], Any]) -> int:
    """The most bytes of tensors alive at once during a call, beyond those before it, once it has warmed up."""
    call()
    return measured_peak(call)


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
    """A Markdown table; without targets it has no column for them."""
    aimed = any(row.limit is not None for row in rows)
    head = ["| case | setting | measured | compared with | | ratio |", "|---|---|--:|---|--:|--:|"]
    lines = [line + more for line, more in zip(head, (" target | met |", "--:|---|"), strict=True)] if aimed else head
    for row in rows:
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        lines.append(
            f"| {row.case} | {row.setting} | {_amount(row.measured, row.unit, row.spread)} | {row.peer_name} "
            f"| {_amount(row.peer, row.unit)} | {_ratio(row.ratio)} |" + (f" {row.target} | {met} |" if aimed else "")
        )
    return "\n".join(lines)


LARGER = {"ms": (1000, "s"), "KiB": (1024, "MiB"), "MiB": (1024, "GiB")}
"""Unit → from how many of it on the next one is written, and its name."""


def _amount(value: float | None, unit: str, spread: tuple[float, float] | None = None) -> str:
    """An amount with its spread in brackets, in the unit that keeps it short."""
    if value is None:
        return "not measured"
    while unit in LARGER and value >= LARGER[unit][0]:
        size, unit = LARGER[unit]
        value, spread = value / size, spread and (spread[0] / size, spread[1] / size)
    known = spread is not None and spread[0] < spread[1]  # what was measured once has none
    return f"{_digits(value)} {unit}" + (f" ({_digits(spread[0])}–{_digits(spread[1])})" if spread and known else "")


def _digits(value: float) -> str:
    """Three digits, and all those before the point."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:,.0f}"


def _ratio(ratio: float | None) -> str:
    """Two digits after the point, and at least two that count."""
    return "" if ratio is None else f"{ratio:.2f}" if ratio >= 0.095 else f"{ratio:.2g}"
