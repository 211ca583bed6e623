"""`formers eval`: a model on the tasks of lm-evaluation-harness."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli.say import say

if TYPE_CHECKING:
    from formers.evaluation.harness import HarnessResult
    from formers.evaluation.text_model import TextModel


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A causal language model: a folder, a study's, or a hub name.")
    ],
    tasks: Annotated[str, typer.Option(help="Names of tasks or groups, with commas between.")],
    include: Annotated[
        list[Path] | None, typer.Option(help="A folder with task files of your own; may be given again.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Examples of each task, at most.")] = None,
    shots: Annotated[
        int | None, typer.Option("--shots", "--num-fewshot", min=0, help="Examples that stand before each question.")
    ] = None,
    mixer: Annotated[str | None, typer.Option(help="Another attention for a pretrained model, as in adapt.")] = None,
    length: Annotated[
        int | None, typer.Option(min=2, help="Tokens read at a time, at most.", show_default="the model's own")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", "--batch-size", min=1, help="Texts read side by side.")] = 8,
    device: Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the weights: fp32, bf16 or fp16.")] = "fp32",
    folder: Annotated[
        Path | None, typer.Option(help="Where results are written.", show_default="evaluation/ in the model's folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Ask a model the tasks of lm-evaluation-harness, the common yardstick. Needs the extra `eval`.

    \b
    formers eval my-model --tasks my_task --include my-tasks
    formers eval path/to/model --tasks lambada_openai,arc_easy --limit 100
    formers eval path/to/model --tasks arc_easy --mixer 'window(256) | sinks(4)'

    Takes any causal language model: one that this library trained, on characters too, or a pretrained one, with its own
    attention or with another. Ctrl-C is no loss: the same command goes on where it stopped. See docs/evaluation.md.
    """
    from formers.cli.progress import progress_bar
    from formers.cli.text_models import open_text_model
    from formers.evaluation.harness import answers_file, load_tasks, require_harness, run_tasks
    from formers.lab.train.stop import Stopped

    require_harness()
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise ValueError("--tasks names no task; give one, as in --tasks arc_easy")
    asked, place = open_text_model(model, mixer, length=length, batch=batch, device=device, precision=precision)
    folder = folder or place / "evaluation"
    loaded = load_tasks(names, include or [], shots)
    folder.mkdir(parents=True, exist_ok=True)
    answers = answers_file(asked, folder)
    try:
        with progress_bar("asking") as progress:
            results, cut = run_tasks(asked, loaded, limit=limit, answers=answers, progress=progress)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {folder} keeps the answers so far, and the same command goes on from there") from None
    answers.unlink()
    report = _report(asked, model, mixer, results, {"limit": limit, "batch": batch, "precision": precision}, cut)
    path = folder / f"{'+'.join(names)[:150]}{'' if limit is None else f'-limit{limit}'}{_slug(mixer)}.json"
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        say(json.dumps(report, indent=1, ensure_ascii=False))
        return
    _show(results, cut, asked)
    say(f"results: {path}")


def _report(
    model: TextModel,
    name: str,
    mixer: str | None,
    results: list[HarnessResult],
    settings: dict[str, Any],
    cut: int,
) -> dict[str, Any]:
    """Return everything that was measured, and how to measure it again."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    from formers.machine.environment import environment, installed_version
    from formers.machine.shell import command_line

    return {
        "model": name,
        "mixer": mixer,
        "tasks": {result.task: {k: v for k, v in asdict(result).items() if k != "task"} for result in results},
        "settings": settings | {"length": model.length},
        "cut": cut,
        "environment": environment() | {"lm_eval": installed_version("lm_eval")},
        "command": command_line(["formers", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _slug(mixer: str | None) -> str:
    """Return a mixer as part of a file's name."""
    import re

    return "" if mixer is None else "-" + re.sub(r"\W+", "-", mixer).strip("-")[:60]


def _show(results: list[HarnessResult], cut: int, model: TextModel) -> None:
    """Print a table, and what a reader of it has to know."""
    from rich.console import Console
    from rich.table import Table

    from formers.plot.visible_text import visible_line

    table = Table("task", "metric", "value", "± error", "examples", "shots", box=None, pad_edge=False)
    for result in results:
        for name, metric in result.metrics.items():
            arrow = {True: " ↑", False: " ↓", None: ""}[metric.higher_is_better]
            error = "" if metric.error is None else f"{metric.error:.4f}"
            counted = "" if result.examples is None else f"{result.examples:,}"
            counted += f" of {result.of:,}" if result.of != result.examples and result.of is not None else ""
            shots = "" if result.shots is None else str(result.shots)
            table.add_row(visible_line(result.task), name + arrow, f"{metric.value:.4f}", error, counted, shots)
    Console().print(table, highlight=False)
    if cut:
        say(
            f"requests that are longer than the {model.length:,} tokens that the model reads, lost their beginning: "
            f"{cut:,}. --length reads more, where the model's positions allow it"
        )
