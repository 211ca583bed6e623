"""Run every case on a GPU, each in a process of its own, and write results/gpu.json after each.

A case that hangs or is killed loses the arm at which it was, and goes on behind it: see `watch`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.targets import TARGETS
from benchmarks.gpu.watch import Watched, watch
from benchmarks.harness import RESULTS, Row, table

TITLE = "On a GPU"
NOTES = (
    "bfloat16; kernels of H=16, K=V=64, B=4 at 4,096 tokens and fewer, B=1 beyond and for windows; encoders "
    "of width 768 and 12 layers, 16,384 tokens a batch; steps of causal models of that size, under autocast, "
    "with the optimiser; decoding by `generate()`, four rows; static: with `cache_implementation='static'`. Medians of "
    "CUDA events; every case has its own process."
)
SECONDS = 350
"""For everything, so that it ends within six minutes."""


def cases() -> dict[str, tuple[str, int]]:
    """Return case → its function, and the seconds after which an arm of it counts as hung.

    What has targets comes first, and of that what compiles least: time may end before the last.
    """
    return {
        "linear": ("kernels:linear_rows", 60),
        "metric": ("kernels:metric_rows", 40),
        "decoding": ("models:decoding_rows", 60),
        "encoders": ("models:encoder_rows", 60),
        "window": ("kernels:window_rows", 60),
        "training": ("models:training_rows", 120),
        "long": ("models:long_rows", 60),
        "static": ("models:static_rows", 90),
        "buckets": ("mixing:bucket_rows", 60),
        "fourier": ("mixing:fourier_rows", 40),
        "more training": ("models:other_training_rows", 120),
        "tiles": ("kernels:tile_rows", 60),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--toy", action="store_true", help="toy sizes: only shows that the cases work")
    parser.add_argument("--only", default="", help=f"some cases, with commas between: {', '.join(cases())}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all cases together")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--plan", action="store_true", help="write the targets as not measured, and measure nothing")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--known", default="{}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        run_case(given.case, Bench(given.device, given.toy, json.loads(given.known)))
    elif given.plan:
        write(given.out, [], {"device": "none yet"}, [])
    elif given.device == "cuda" and not torch.cuda.is_available():
        print("Skipped: torch finds no CUDA device. With --device cpu --toy the cases are tried at toy sizes.")
    elif given.device != "cuda" and not given.toy:
        parser.error("a CPU is for trying the cases: add --toy")
    else:
        run_all(given)


def run_case(name: str, bench: Bench) -> None:
    """Run one case in this process."""
    module, function = cases()[name][0].split(":")
    torch.manual_seed(0)
    run: Callable[[Bench], None] = getattr(__import__(f"benchmarks.gpu.{module}", fromlist=[function]), function)
    run(bench)


def run_all(given: argparse.Namespace) -> None:
    """Run the cases one after the other, as long as there is time, and write what is known after each."""
    wanted = given.only.split(",") if given.only else list(cases())
    if unknown := set(wanted) - cases().keys():
        raise SystemExit(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases())}")
    end, rows, trouble = time.monotonic() + given.seconds, list[Row](), list[str]()
    for name in wanted:
        command = [sys.executable, "-m", "benchmarks.gpu", "--case", name, "--device", given.device]
        command += ["--toy"] if given.toy else []
        found = watch(command, seconds_an_arm=cases()[name][1], until=end)
        rows += found.rows
        trouble += [f"{name}: {line}" for line in found.trouble]
        report(name, found)
        write(given.out, rows, machine(given.device, given.toy), trouble)
    print(f"{table(rows)}\n\nwrote {given.out}")


def report(name: str, found: Watched) -> None:
    print(f"== {name}: {len(found.rows)} rows, {found.seconds:.0f} s", flush=True)
    for line in found.trouble:
        print(f"   {line}", flush=True)


def write(path: Path, rows: list[Row], place: dict[str, str], trouble: list[str]) -> None:
    """Write the rows, and each target without one as not measured."""
    known = {(row.case, row.setting) for row in rows}
    missing = [
        Row(case, setting, None, None, peer, limit) for (case, setting), (peer, limit) in TARGETS.items()
        if (case, setting) not in known
    ]  # fmt: skip
    notes = NOTES + (f" Failed: {'; '.join(trouble)}." if trouble else "")
    content = {"title": TITLE, "notes": notes, "machine": place, "rows": [asdict(row) for row in rows + missing]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def machine(device: str, toy: bool) -> dict[str, str]:
    """Return what was measured on, and with."""
    place = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu, toy sizes: no measurement"}
    place |= {"python": platform.python_version(), "date": datetime.now(UTC).date().isoformat(), "dtype": "bfloat16"}
    for package in ("torch", "triton", "transformers", "flash-linear-attention"):
        try:
            place[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            place[package] = "not installed"
    return place


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
