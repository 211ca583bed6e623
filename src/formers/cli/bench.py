"""`formers bench`: time and memory of parts on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from formers.cli import bench_options as options
from formers.cli.console import table_console
from formers.cli.options import Parts
from formers.cli.running import print_path

if TYPE_CHECKING:
    from formers.bench.plan import BenchPlan
    from formers.bench.results import BenchResults

_HOME = Path("benches")


def bench(
    subjects: options.Subjects = None,
    length: options.Length = None,
    width: options.Width = None,
    heads: options.Heads = None,
    batch: options.Batch = None,
    phases: options.Phases = None,
    bidirectional: options.Bidirectional = False,
    against: options.Against = "softmax",
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    rounds: options.Rounds = None,
    seconds: options.Seconds = None,
    patience: options.Patience = 20.0,
    seed: options.Seed = 0,
    quick: options.Quick = False,
    out: options.Out = None,
    parts: Parts = None,
) -> None:
    """Measure time, memory and operations of parts on this machine. Show how they grow, and where one overtakes
    another.

    \b
    formers bench --quick
        softmax, bare SDPA, linear, Performer and a window, up to 2,048 tokens, in less than a minute
    formers bench softmax linear 'performer(features=128)' --length 512..8192
        these three, at 512, 1024, … 8192 tokens; quote the brackets
    formers bench softmax linear --width 64,128,256 --length 2048 --phases training
        against the width instead; one size varies, the others stand still
    formers bench softmax fourier linformer pip:linformer --bidirectional
        an encoder's mixers, and a published implementation where it is installed
    formers bench 'sparse(pattern=window(64))' --against sdpa --threads 1
        from which length a window beats torch's kernel

    Mixers are timed whole, with their projections; `sdpa` is the kernel alone. A part that breaks a law of
    formers.testing is not timed: its row says which law. Candidates take turns in random order, and ratios are taken
    within a round. Ctrl-C keeps what is measured.
    """
    from formers.machine.device import choose_device

    sizes = {"length": length, "width": width, "heads": heads, "batch": batch}
    changes = {
        "device": device if ":" in device else choose_device(device),
        "dtype": dtype,
        "threads": threads,
        "patience": patience,
        "seed": seed,
        "reference": against,
    }
    changes |= {"rounds": rounds, "seconds": seconds}
    plan = options.read_plan(subjects or [], sizes, phases, causal=not bidirectional, quick=quick, changes=changes)
    results = measure(plan)
    show(results, out or _new_folder(datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")))
    if results.stopped:
        raise typer.Exit(130)
    if not results.measured:
        raise typer.Exit(1)


def _new_folder(name: str) -> Path:
    """Return a folder for a benchmark that is not there yet: a clock that was set back may give a name twice."""
    names = (name if k == 1 else f"{name}-{k}" for k in count(1))
    return next(folder for folder in map(_HOME.joinpath, names) if not folder.exists())


def measure(plan: BenchPlan) -> BenchResults:
    """Run a plan, with a bar in a terminal and lines elsewhere."""
    from rich.console import Console

    from formers.bench.measuring.run_bench import run_bench
    from formers.bench.progress import BenchBar, BenchLines

    console = Console(stderr=True)
    if not console.is_terminal:
        return run_bench(plan, BenchLines(console))
    with BenchBar(console) as bar:
        return run_bench(plan, bar)


def show(results: BenchResults, folder: Path) -> None:
    """Print the results of a benchmark, and write its files."""
    from formers.bench.output_files import write_files
    from formers.bench.summarize import summarize
    from formers.bench.terminal import terminal

    console = table_console()
    for piece in terminal(summarize(results)):
        console.print(piece)
    for path in write_files(results, folder):
        print_path(path.suffix[1:], path.resolve())
