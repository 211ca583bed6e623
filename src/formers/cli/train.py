"""`formers train`: train and keep one model."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from formers.cli import options
from formers.cli.completion import task_names
from formers.cli.running import print_path, run_and_show


def train(
    task: Annotated[
        str,
        typer.Argument(
            help="A task, such as shakespeare or 'shakespeare(path=\"my.txt\")'.", autocompletion=task_names
        ),
    ],
    choices: Annotated[list[str] | None, typer.Argument(help="What to change: mixer=linear depth=2.")] = None,
    steps: options.Steps = None,
    batch: options.Batch = None,
    learning_rate: options.Rate = None,
    warmup: options.Warmup = None,
    weight_decay: options.Decay = None,
    clip: options.Clip = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            help="How often the model is evaluated; without it, as often for each step as in the task's default study, "
            "at least twice, and at most as often as there."
        ),
    ] = None,
    stages: options.Stages = None,
    seed: Annotated[int, typer.Option(help="Of the initial weights and of the data's order.")] = 0,
    length: options.Length = None,
    eval_length: options.EvalLength = None,
    width: options.Width = None,
    depth: options.Depth = None,
    heads: options.Heads = None,
    folder: options.Folder = None,
    shard: options.Shard = None,
    track: options.Track = None,
    device: options.Device = None,
    precision: options.Precision = None,
    compile: options.Compile = None,
    accumulate: options.Accumulate = None,
    checkpointing: options.Checkpointing = None,
    parts: options.Parts = None,
) -> None:
    """Train one model on a task, and keep it.

    \b
    formers train shakespeare mixer=linear --steps 500 --folder my-model
    formers generate my-model --prompt 'JULIET:'
    torchrun --nproc-per-node 2 -m formers train shakespeare --shard
        each process holds half of the model; see docs/scaling.md
    """
    from formers.lab.plan.jobs import plan_jobs
    from formers.lab.study.arm import Arm
    from formers.lab.study.compute import Compute
    from formers.lab.study.study import Study, default_budget
    from formers.lab.train.job import Job
    from formers.part import Unsupported

    made = options.read_task(task, length)  # first: its file may define parts
    sizes = options.given({"width": width, "depth": depth, "heads": heads})
    swaps = options.read_choices(choices or [])
    budget = {"steps": steps, "batch_size": batch, "learning_rate": learning_rate, "warmup": warmup}
    budget |= {"weight_decay": weight_decay, "clip": clip, "evaluations": evaluations, "stages": stages}
    compute: dict[str, Any] = {"device": device, "precision": precision, "compile": compile}
    compute |= {"accumulate": accumulate, "checkpointing": checkpointing}
    study = Study(
        task=made,
        arms=(Arm(", ".join(choices or []) or "base", swaps),),
        base=sizes,
        budget=options.read_budget(default_budget(made), budget),
        seeds=(seed,),
        compute=Compute(**options.given(compute)),
        eval_lengths=eval_length or (),
        shard=bool(shard),
    )
    study = replace(study, folder=folder) if folder else study
    if study.searches:
        raise ValueError(f"train makes one model, but {study.arms[0].text} are several; `formers ablate` compares them")
    [config] = study.configs().values()
    if isinstance(config, Unsupported):
        raise config
    run_and_show(study, track=track)
    [job] = plan_jobs(study)
    assert isinstance(job, Job)
    print_path("model", job.model_folder.resolve())
