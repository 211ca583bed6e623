"""Options of `formers bench`, and the plan that they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli.options import given

if TYPE_CHECKING:
    from formers.bench.plan import BenchPlan

Subjects = Annotated[
    list[str] | None,
    typer.Argument(
        help="Mixers in their text form; `sdpa`, torch's bare kernel; or installed peers such as "
        "pip:local-attention. A useful selection without any.",
        show_default=False,
    ),
]
Length = Annotated[str | None, typer.Option(help="Tokens: 512, or 512,2048, or 512..8192 (doubling).")]
Width = Annotated[str | None, typer.Option(help="Model width, likewise; 256 by default.")]
Heads = Annotated[str | None, typer.Option(help="Attention heads; 4 by default.")]
Batch = Annotated[str | None, typer.Option(help="Sequences at once; 1 by default.")]
Phases = Annotated[
    str | None, typer.Option(help="Some of forward, training (forward + backward), prefill, step; all by default.")
]
Bidirectional = Annotated[
    bool, typer.Option("--bidirectional", help="Every token sees every other, instead of its past only.")
]
Against = Annotated[str, typer.Option(help="What ratios and crossovers refer to; it is added where it is not named.")]
Device = Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu, cuda or cuda:1.")]
Dtype = Annotated[str, typer.Option(help="Of weights and inputs: float32, bfloat16 or float16.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Of the processor; torch's choice by default.")]
Rounds = Annotated[int | None, typer.Option(help="How often everything is timed; 9, quick 6.")]
Seconds = Annotated[float | None, typer.Option(help="Begin no further round after so many, but make at least three.")]
Patience = Annotated[float, typer.Option(help="Seconds that one call may take; what takes longer is left out.")]
Seed = Annotated[int, typer.Option(help="Of the order, the inputs and the weights.")]
Quick = Annotated[bool, typer.Option("--quick", help="Short lengths, few rounds: less than a minute.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for bench.json, bench.csv and bench.html; by default benches/<date and time>."),
]


def read_plan(
    subjects: list[str],
    sizes: dict[str, str | None],
    phases: str | None,
    *,
    causal: bool,
    quick: bool,
    changes: dict[str, Any],
) -> BenchPlan:
    """Return the plan that options mean; None leaves the default, or with `quick` the quick one.

    Raises:
        ValueError: for a text that is not a size, a phase or a subject, and for what `BenchPlan` refuses.
    """
    from formers.bench import plan
    from formers.bench.sizes import Sweep, read_sizes
    from formers.bench.subjects.parse import parse_subjects

    swept = {name: read_sizes(name, text) for name, text in given(sizes).items()}
    if "length" not in swept and any(len(values) > 1 for values in swept.values()):
        swept["length"] = (plan.FIXED_LENGTH,)
    chosen = given(changes)
    if phases is not None:
        chosen["phases"] = tuple(word.strip() for word in phases.split(","))
    if quick:
        swept = {"length": plan.QUICK_LENGTHS} | swept
        brief = {"phases": plan.QUICK_PHASES, "rounds": plan.QUICK_ROUNDS, "seconds": plan.QUICK_SECONDS}
        chosen = brief | chosen
    named = parse_subjects(subjects) or plan.default_subjects(causal, quick)
    return plan.BenchPlan(subjects=named, sweep=Sweep(**swept), causal=causal, **chosen)
