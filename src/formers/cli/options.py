"""Options that several commands share, and the studies they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from formers.lab.executors.executor import Executor
    from formers.lab.study.budget import Budget
    from formers.lab.study.slurm_resources import SlurmResources
    from formers.tasks.task import Task

_AMOUNT = "NUMBER[,NUMBER…]"
Steps = Annotated[int | None, typer.Option(help="Optimiser steps each arm is given.", rich_help_panel="Budget")]
Batch = Annotated[
    str | None,
    typer.Option("--batch", "--batch-size", help="Examples in a step.", metavar=_AMOUNT, rich_help_panel="Budget"),
]
Rate = Annotated[
    str | None,
    typer.Option(
        "--lr",
        "--learning-rate",
        help="Highest learning rate. Of several, 1e-3,3e-3,1e-2, each arm takes the one that is best on validation.",
        metavar=_AMOUNT,
        rich_help_panel="Budget",
    ),
]
Warmup = Annotated[str | None, typer.Option(help="Share of the steps with a rising learning rate.", metavar=_AMOUNT)]
Decay = Annotated[str | None, typer.Option("--weight-decay", help="Weight decay of matrices.", metavar=_AMOUNT)]
Clip = Annotated[str | None, typer.Option(help="Largest gradient norm.", metavar=_AMOUNT)]
Evaluations = Annotated[int | None, typer.Option(help="How often an arm is evaluated.")]
Stages = Annotated[
    int | None,
    typer.Option(
        help="Stages of the training: each before the last has half the length and windows of the next, and twice its "
        "learning rate.",
        rich_help_panel="Budget",
    ),
]
Length = Annotated[int | None, typer.Option(help="Tokens in one example of the task.")]
EvalLength = Annotated[
    str | None,
    typer.Option(
        help="Lengths to test trained models at: multiples of the trained one, or tokens, as in 1x,2x,4x or 128,512."
    ),
]
Width = Annotated[int | None, typer.Option(help="Model width, for every arm.")]
Depth = Annotated[int | None, typer.Option(help="Layers, for every arm.")]
Heads = Annotated[int | None, typer.Option(help="Attention heads, for every arm.")]
Folder = Annotated[
    Path | None, typer.Option(help="Where rows, models and the report go; by default a folder in studies/.")
]
Jobs = Annotated[
    int,
    typer.Option(min=1, help="Arms trained side by side, each with its share of the cores or a GPU of its own."),
]
Track = Annotated[
    str | None,
    typer.Option(
        help="Copy the rows to another tracker at the end, too: tensorboard, wandb or trackio. MLflow has them anyway."
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(help="Train arms on a Ray cluster: its address, 'auto', or 'local' for one on this machine."),
]
Slurm = Annotated[
    str | None,
    typer.Option(
        help="Train each arm as a job of this Slurm cluster: 'partition=gpu, gpus=1, time=4h, memory=16G', or 'auto' "
        "for what the cluster gives by itself; 'off' trains here. Ctrl-C leaves the jobs in the queue, and the same "
        "command collects them.",
        metavar="OPTIONS",
    ),
]
ModelDevice = Annotated[str, typer.Option("--device", help="auto (a GPU where there is one), cpu or cuda.")]
"""Of a command that runs one model; a study's may come from its file, too."""
Device = Annotated[
    str | None, typer.Option(help="auto (a GPU where there is one), cpu or cuda.", rich_help_panel="Computing")
]
Precision = Annotated[
    str | None,
    typer.Option(help="Of products: fp32, bf16 or fp16 (GPUs), under autocast.", rich_help_panel="Computing"),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile models for training: minutes at the start, faster steps.",
        show_default=False,
        rich_help_panel="Computing",
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        help="Cut each batch into so many parts, one after the other: less memory.", rich_help_panel="Computing"
    ),
]
Checkpointing = Annotated[
    bool | None,
    typer.Option(
        "--checkpointing/--no-checkpointing",
        help="Compute layers again in the backward pass instead of keeping them: less memory, a third more time.",
        show_default=False,
        rich_help_panel="Computing",
    ),
]
Shard = Annotated[
    bool | None,
    typer.Option(
        "--shard/--no-shard",
        help="Under torchrun, spread the model over the processes (FSDP) instead of holding it whole in each: for "
        "models that one device has no room for.",
        show_default=False,
    ),
]
Parts = Annotated[
    list[Path] | None,
    typer.Option(help="Python files with parts of your own; they are run. See docs/own-parts.md.", metavar="FILE"),
]
"""Files that are run before the command."""
Cores = Annotated[int, typer.Option(min=1, help="With --ray: cores that each arm is given.")]


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def read_task(text: str, length: int | None) -> Task:
    """Return the task a text means, with another length where one is given."""
    from formers.tasks import parse

    task: Task = parse(text)
    return task if length is None else task.swap(length=length)


def read_budget(budget: Budget, changes: dict[str, Any]) -> Budget:
    """Return a budget with the options changed that were given; with steps alone, it is evaluated in proportion.

    Raises:
        ValueError: for a list of values.
    """
    amounts, lists = read_amounts(changes)
    if lists:
        name, values = next(iter(lists.items()))
        raise ValueError(
            f"--{name.replace('_', '-')} is one number here, not {','.join(f'{value:g}' for value in values)}; "
            "`formers ablate` tries several, and takes the best for each arm"
        )
    return changed_budget(budget, amounts)


def changed_budget(budget: Budget, amounts: dict[str, Any]) -> Budget:
    """Return a budget with these amounts; with other steps, it is evaluated in proportion unless told how often."""
    start = budget if "evaluations" in amounts or "steps" not in amounts else budget.with_steps(amounts["steps"])
    return replace(start, **amounts)


def read_amounts(changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, tuple[float, ...]]]:
    """Return the options of a budget that were given: those with one number, and those with a list of them.

    Raises:
        ValueError: for a text that is no number, and no list of them.
    """
    read = {name: _numbers(name, value) for name, value in given(changes).items()}
    return (
        {name: numbers[0] for name, numbers in read.items() if len(numbers) == 1},
        {name: numbers for name, numbers in read.items() if len(numbers) > 1},
    )


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    """Return the numbers in `1e-3,3e-3`; whole ones as such."""
    if not isinstance(value, str):
        return (value,)
    from formers.part import quoted

    pieces = [piece.strip() for piece in value.split(",")]
    try:
        return tuple(int(piece) if piece.lstrip("+-").isdecimal() else float(piece) for piece in pieces)
    except ValueError:
        raise ValueError(
            f"--{name.replace('_', '-')} {quoted(value)} is neither a number nor a list of them, such as 1e-3,3e-3"
        ) from None


def read_choices(texts: list[str]) -> dict[str, Any]:
    """Return the choices of several texts, each `name=value, …`. Raise ValueError for one that is chosen twice."""
    from formers.lab.study.choices import parse_choices

    return parse_choices(", ".join(texts)) if texts else {}


def read_slurm(text: str | None, before: SlurmResources | None) -> SlurmResources | None:
    """Return the resources of jobs on a Slurm cluster: those of the study with the given options changed."""
    from formers.lab.study.slurm_resources import OFF, SlurmResources, parse_options

    if text is None:
        return before
    return None if text.strip() == OFF else replace(before or SlurmResources(), **parse_options(text))


def read_executor(jobs: int, ray: str | None, cores: int, slurm: SlurmResources | None = None) -> Executor | None:
    """Return the executor that trains arms elsewhere; None for this process."""
    if slurm is not None and (jobs != 1 or ray is not None):
        raise ValueError(
            f"--{'jobs' if ray is None else 'ray'} and --slurm are two ways to train arms side by side; choose one, or "
            "leave the study's own Slurm jobs out: --slurm off"
        )
    if slurm is not None:
        from formers.lab.executors.slurm import Slurm

        return Slurm(slurm)
    from formers.lab.executors.processes import Processes
    from formers.lab.executors.ray import Cluster

    if ray is None:
        return None if jobs == 1 else Processes(jobs)
    if jobs != 1:
        raise ValueError(
            "--jobs is for this machine; with --ray, the cluster runs as many arms as its cores or GPUs allow"
        )
    return Cluster(ray, cores)


def read_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that a text means: `3` → 0, 1, 2; `4,7` or `4,` → these."""
    from formers.lab.study.seeds import first_seeds
    from formers.part import quoted

    try:
        numbers = [int(piece) for piece in text.split(",") if piece.strip()]
    except ValueError:
        raise ValueError(
            f"--seeds {quoted(text)} is neither a number of seeds (3) nor a list of them (0,1,2)"
        ) from None
    return tuple(numbers) if "," in text or not numbers else first_seeds(numbers[0])


def read_search_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds listed in `1000,1001`."""
    return read_seeds(f"{text},")
