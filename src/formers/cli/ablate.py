"""`formers ablate`: compare arms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli import options, search_options
from formers.cli.completion import choices, task_names
from formers.cli.dry_run import show_forecast
from formers.cli.running import run_and_show

if TYPE_CHECKING:
    from formers.lab.study.arm import Arm
    from formers.lab.study.study import Study


def ablate(
    task: Annotated[
        str,
        typer.Argument(
            help="A task, such as shakespeare or 'sort(length=8)', a file of your own (my_task.py), or a study.yaml.",
            autocompletion=task_names,
        ),
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(help="axis=part,part(option=1),… ; repeat it to combine.", autocompletion=choices),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="An arm of several swaps: 'name: mixer=dense, depth=2'.")
    ] = None,
    base: Annotated[list[str] | None, typer.Option(help="Choices for every arm: position=rotary.")] = None,
    match: Annotated[
        str | None, typer.Option(help="What arms have in common: steps, parameters, flops or time.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="How many seeds (3), or which (4,7).")] = None,
    search_seeds: Annotated[
        str | None, typer.Option(help="Seeds with which several values of an option are tried: 1000,1001.")
    ] = None,
    search: search_options.Search = None,
    under: search_options.Under = None,
    trials: search_options.Trials = None,
    front: search_options.Front = None,
    together: search_options.Together = None,
    steps: options.Steps = None,
    batch: options.Batch = None,
    learning_rate: options.Rate = None,
    warmup: options.Warmup = None,
    weight_decay: options.Decay = None,
    clip: options.Clip = None,
    evaluations: options.Evaluations = None,
    stages: options.Stages = None,
    length: options.Length = None,
    eval_length: options.EvalLength = None,
    width: options.Width = None,
    depth: options.Depth = None,
    heads: options.Heads = None,
    folder: options.Folder = None,
    jobs: options.Jobs = 1,
    ray: options.Ray = None,
    cores: options.Cores = 1,
    slurm: options.Slurm = None,
    shard: options.Shard = None,
    track: options.Track = None,
    budget_size: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="small (the task's default), medium (4 times the steps, 3 seeds) or large (16 times, 5 seeds, and 3 "
            "learning rates for each arm to choose from); other options change it.",
            rich_help_panel="Budget",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the arms, their costs, and how long the study would take.")
    ] = False,
    device: options.Device = None,
    precision: options.Precision = None,
    compile: options.Compile = None,
    accumulate: options.Accumulate = None,
    checkpointing: options.Checkpointing = None,
    parts: options.Parts = None,
) -> None:
    """Compare parts: one model per choice, same budget and data. Report how good each one is, and what it costs.

    \b
    formers ablate shakespeare
        the task's default study
    formers ablate shakespeare --vary mixer=softmax,linear --vary position=learned,rotary --seeds 3
        four arms, three times each
    formers ablate sort --vary 'mixer=softmax,linear(feature=relu)' --steps 200 --width 32
        an option of a part; quote the brackets
    formers ablate shakespeare --arm 'dense: mixer=dense, residual=danet, norm=max_norm' --vary mixer=softmax
        an arm that swaps several parts at once
    formers ablate shakespeare --lr 1e-3,3e-3,1e-2 --seeds 3
        each arm takes the rate that is best for it on validation, tried with a seed of its own; the report shows what
        each rate gave. An arm takes one of several choices likewise: --arm 'performer: mixer={performer,linear}'
    formers ablate recall --match parameters
        the same number of parameters for all: feed-forwards are widened or narrowed
    formers ablate shakespeare --steps 300
        a short one: validated in proportion, as often for each step as the whole one, at least twice; the test at the
        end is whole, whatever the steps. --evaluations says otherwise
    formers ablate shakespeare --vary position=sinusoidal,rotary,alibi --eval-length 1x,2x,4x
        each tested on text of up to four times the trained length, too; what is trained already is not trained again
    formers ablate recall --search 'mixer=softmax,linear,performer(features=log(8..256))' --search 'lr=log(1e-3..1e-2)'
        --search depth=1..3 --under parameters=200k --trials 30 --seeds 3
        a search by Optuna: 30 trials within 200,000 parameters; the front of quality against parameters is trained
        again with seeds of its own, and ranked beside the base
    formers ablate shakespeare --budget medium
        four times the steps and three seeds: enough to tell arms apart that differ by more than seeds do
    formers ablate shakespeare --seeds 3 --dry-run
        what that would train: parameters, operations, memory and time of each arm, without training
    formers ablate study.yaml
        a study from a file; every study leaves one in its folder
    formers ablate shakespeare --jobs 4
        four arms at a time on this machine; for clusters and several processes to a model see docs/scaling.md
    formers ablate shakespeare --seeds 3 --folder /shared/study --slurm 'partition=gpu, gpus=1, time=4h'
        each arm with each seed as a job of a Slurm cluster; Ctrl-C leaves them in the queue
    formers ablate shakespeare --precision bf16 --compile
        products in half precision, and compiled models; on a GPU where there is one
    torchrun --nproc-per-node 2 -m formers ablate shakespeare --shard
        two processes train each arm together, and each holds half of it

    Stop with Ctrl-C; the same command goes on where it stopped, and what is finished is not trained again.
    """
    budget = {"steps": steps, "batch_size": batch, "learning_rate": learning_rate, "warmup": warmup}
    budget |= {"weight_decay": weight_decay, "clip": clip, "evaluations": evaluations, "stages": stages}
    start = _sized(_starting_study(task, length), budget_size)  # first: its files may define parts
    choices = options.given({"width": width, "depth": depth, "heads": heads}) | options.read_choices(base or [])
    changes: dict[str, Any] = {"arms": _read_arms(vary or [], arm or []) or None, "match": match}
    changes |= {"eval_lengths": eval_length, "shard": shard, "folder": folder}
    if search_seeds is not None:
        changes["search_seeds"] = options.read_search_seeds(search_seeds)
    compute: dict[str, Any] = {"device": device, "precision": precision, "compile": compile}
    compute |= {"accumulate": accumulate, "checkpointing": checkpointing}
    numbers = {"trials": trials, "front": front, "together": together}
    changes["space"] = search_options.read_space(start.space, search or [], under, numbers)
    study = _changed(start, task, changes, seeds, choices, budget, compute)
    study = replace(study, slurm=options.read_slurm(slurm, start.slurm))
    if search_seeds is not None and not (study.searches or study.space):
        raise ValueError(
            "--search-seeds does nothing without a search; leave it out, or give several values of an option, as in "
            "--lr 1e-3,3e-3"
        )
    if dry_run:
        show_forecast(study, jobs)
        return
    run_and_show(study, options.read_executor(jobs, ray, cores, study.slurm), track)


def _starting_study(task: str, length: int | None) -> Study:
    """Return the study that the options change: the one in a file, or the task's default one."""
    from formers.lab.study.study import Study
    from formers.lab.study.yaml import read_study

    if not task.endswith((".yaml", ".yml")):
        return Study(task=options.read_task(task, length))
    if not Path(task).is_file():
        raise FileNotFoundError(f"there is no study at {task}")
    study = read_study(task)
    return study if length is None else replace(study, task=study.task.swap(length=length))


def _sized(study: Study, size: str | None) -> Study:
    """Return the study with the budget, the seeds and the rates of a size, where one is given."""
    if size is None:
        return study
    from formers.lab.study.budget_size import budget_size

    return budget_size(size).given_to(study)


def _changed(
    start: Study,
    task: str,
    changes: dict[str, Any],
    seeds: str | None,
    choices: dict[str, Any],
    budget: dict[str, Any],
    compute: dict[str, Any] | None = None,
) -> Study:
    """Return the starting study with what was given changed: fields, seeds, choices, the budget and computing."""
    changed = {"folder": _named(start, task)} | options.given(changes)
    if seeds is not None:
        changed["seeds"] = options.read_seeds(seeds)
    if changed.get("space") and "arms" not in changed and _named(start, task) is None:
        changed["arms"] = ()  # beside a search, the base instead of the task's default arms
    changed["base"] = {**start.base, **choices}
    amounts, lists = options.read_amounts(budget)
    changed["budget"] = options.changed_budget(start.budget, amounts)
    changed["compute"] = replace(start.compute, **options.given(compute or {}))
    of_size = {} if changed.get("space") else start.search  # rates of a size are left to the larger search
    changed["search"] = {name: it for name, it in of_size.items() if name not in amounts} | lists
    return replace(start, **changed)


def _named(start: Study, task: str) -> Path | None:
    """Return the folder that a study file names; None, so that one is named after the content, for a task."""
    return start.folder if task.endswith((".yaml", ".yml")) else None


def _read_arms(vary: list[str], arms: list[str]) -> tuple[Arm, ...]:
    """Return the arms that `--vary` and `--arm` describe, in this order."""
    from formers.lab.study import arm
    from formers.lab.study.choices import parse_alternatives

    axes = [parse_alternatives(text) for text in vary]
    names = [name for name, _ in axes]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"--vary {twice.pop()} is given twice; write its alternatives in one list")
    varied = arm.vary(**dict(axes)) if axes else ()
    return varied + tuple(arm.Arm.parse(text) for text in arms)
