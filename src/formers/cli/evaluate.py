"""`formers eval`: a model on the tasks of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from formers.cli import options
from formers.cli.console import table_console
from formers.cli.evaluated_model import (
    AsJson,
    Batch,
    Gguf,
    Model,
    OtherLayers,
    OtherMixer,
    Precision,
    ResultsFolder,
)
from formers.cli.say import say

if TYPE_CHECKING:
    from formers.evaluation.harness import HarnessResult
    from formers.evaluation.text_model import TextModel


def evaluate(
    model: Model,
    tasks: Annotated[str, typer.Option(help="Names of tasks or groups, with commas between.")],
    include: Annotated[
        list[Path] | None, typer.Option(help="A folder with task files of your own; may be given again.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Examples of each task, at most.")] = None,
    shots: Annotated[
        int | None, typer.Option("--shots", "--num-fewshot", min=0, help="Examples that stand before each question.")
    ] = None,
    mixer: OtherMixer = None,
    layers: OtherLayers = None,
    gguf: Gguf = None,
    length: Annotated[
        int | None, typer.Option(min=2, help="Tokens read at a time, at most.", show_default="the model's own")
    ] = None,
    batch: Batch = 8,
    device: options.ModelDevice = "auto",
    precision: Precision = "fp32",
    folder: ResultsFolder = None,
    as_json: AsJson = False,
    parts: options.Parts = None,
) -> None:
    """Evaluate a model on tasks of lm-evaluation-harness. Needs the extra `eval`.

    \b
    formers eval my-model --tasks my_task --include my-tasks
    formers eval path/to/model --tasks lambada_openai,arc_easy --limit 100
    formers eval path/to/model --tasks arc_easy --mixer 'window(256) | sinks(4)'

    Takes any causal language model: one that this library trained, on characters too, or a pretrained one, with its own
    attention or with another. Ctrl-C is no loss: the same command goes on where it stopped. See docs/evaluation.md.
    """
    from dataclasses import asdict

    from formers.cli.evaluated_model import open_text_model
    from formers.cli.evaluation_results import (
        attention_name,
        evaluation_report,
        file_stem,
        model_in_name,
        write_report,
    )
    from formers.cli.progress import progress_bar
    from formers.evaluation.fingerprint import answers_key
    from formers.evaluation.harness import load_tasks, require_harness, run_tasks
    from formers.lab.train.stop import Stopped

    require_harness()
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise ValueError("--tasks names no task; give one, as in --tasks arc_easy")
    asked, place = open_text_model(
        model, mixer, layers=layers, gguf=gguf, length=length, batch=batch, device=device, precision=precision
    )
    stem = file_stem(
        "+".join(names),
        evaluate,
        limit=limit,
        shots=shots,
        include=include,
        mixer=mixer,
        layers=layers,
        gguf=gguf,
        length=length,
        precision=precision,
        **model_in_name(model, folder),
    )
    mixer = attention_name(mixer, layers)
    folder = folder or place / "evaluation"
    loaded = load_tasks(names, include or [], shots)
    folder.mkdir(parents=True, exist_ok=True)
    answers = folder / f".answers-{answers_key(asked)}.db"
    try:
        with progress_bar("asking") as progress:
            results, cut = run_tasks(asked, loaded, limit=limit, answers=answers, progress=progress)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {folder} keeps the answers so far, and the same command goes on from there") from None
    found = {result.task: {key: value for key, value in asdict(result).items() if key != "task"} for result in results}
    settings = {"limit": limit, "shots": shots, "precision": precision}
    report = evaluation_report(asked, model, mixer, {"tasks": found, "cut": cut}, settings)
    path = folder / f"{stem}.json"
    write_report(report, path, as_json)
    answers.unlink()  # now that the results are on the disk
    if not as_json:
        _show(results, cut, asked)
        say(f"results: {path}")


def _show(results: list[HarnessResult], cut: int, model: TextModel) -> None:
    """Print a table, and what a reader of it has to know."""
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
    table_console().print(table, highlight=False)
    if cut:
        say(
            f"requests that are longer than the {model.length:,} tokens that the model reads, lost their beginning: "
            f"{cut:,}. --length reads more, where the model's positions allow it"
        )
