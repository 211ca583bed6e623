"""`formers bench`: what parts cost on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli.running import WIDE, print_path

if TYPE_CHECKING:
    from formers.bench.plan import BenchPlan
    from formers.bench.results import BenchResults

_HOME = Path("benches")


def bench(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            help="Mixers in their text form; `sdpa`, torch's bare kernel; or installed peers such as "
            "pip:local-attention. A useful selection without any.",
            show_default=False,
        ),
    ] = None,
    length: Annotated[str | None, typer.Option(help="Tokens: 512, or 512,2048, or 512..8192 (doubling).")] = None,
    width: Annotated[str | None, typer.Option(help="Model width, likewise; 256 by default.")] = None,
    heads: Annotated[str | None, typer.Option(help="Attention heads; 4 by default.")] = None,
    batch: Annotated[str | None, typer.Option(help="Sequences at once; 1 by default.")] = None,
    phases: Annotated[
        str | None, typer.Option(help="Some of forward, training (forward + backward), prefill, step; all by default.")
    ] = None,
    bidirectional: Annotated[
        bool, typer.Option("--bidirectional", help="Every token sees every other, instead of its past only.")
    ] = False,
    against: Annotated[
        str, typer.Option(help="What ratios and crossovers refer to; it is added where it is not named.")
    ] = "softmax",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor; torch's choice by default.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How often everything is timed; 9, quick 6.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Begin no further round after so many, but make at least three.")
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds that one call may take; what takes longer is left out.")
    ] = 20.0,
    seed: Annotated[int, typer.Option(help="Of the order, the inputs and the weights.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Short lengths, few rounds: less than a minute.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for bench.json, bench.csv and bench.html; by default benches/<date and time>."),
    ] = None,
) -> None:
    """Measure what parts cost here: time, memory, operations, how they grow, and where one overtakes another.

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
    plan = _read_plan(
        subjects or [],
        {"length": length, "width": width, "heads": heads, "batch": batch},
        phases=phases,
        causal=not bidirectional,
        quick=quick,
        options={
            "device": device,
            "threads": threads,
            "patience": patience,
            "seed": seed,
            "reference": against,
            "rounds": rounds,
            "seconds": seconds,
        },
    )
    found = measure(plan)
    show(found, out or _HOME / datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S"))
    if found.stopped:
        raise typer.Exit(130)
    if not found.measured:
        raise typer.Exit(1)


def _read_plan(
    subjects: list[str],
    sizes: dict[str, str | None],
    *,
    phases: str | None,
    causal: bool,
    quick: bool,
    options: dict[str, Any],
) -> BenchPlan:
    """Return the plan that the options mean; None leaves the default, or the quick one."""
    from formers.bench import plan
    from formers.bench.sizes import Sweep, read_sizes
    from formers.bench.subjects.parse import parse_subjects

    given = {name: read_sizes(name, text) for name, text in sizes.items() if text is not None}
    if "length" not in given and any(len(values) > 1 for values in given.values()):
        given["length"] = (plan.FIXED_LENGTH,)
    chosen = {name: value for name, value in options.items() if value is not None}
    if phases is not None:
        chosen["phases"] = tuple(word.strip() for word in phases.split(","))
    if quick:
        given = {"length": plan.QUICK_LENGTHS} | given
        brief = {"phases": plan.QUICK_PHASES, "rounds": plan.QUICK_ROUNDS, "seconds": plan.QUICK_SECONDS}
        chosen = brief | chosen
    named = parse_subjects(subjects) or plan.default_subjects(causal, quick)
    return plan.BenchPlan(subjects=named, sweep=Sweep(**given), causal=causal, **chosen)


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


def show(found: BenchResults, folder: Path) -> None:
    """Print a bench, and write its files."""
    from rich.console import Console

    from formers.bench.output_files import write_files
    from formers.bench.summarize import summarize
    from formers.bench.terminal import terminal

    console = Console()
    console = console if console.is_terminal else Console(width=WIDE)
    for piece in terminal(summarize(found)):
        console.print(piece)
    for path in write_files(found, folder):
        print_path(path.suffix[1:], path.resolve())
