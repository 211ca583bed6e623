"""`formers adapt`: what a pretrained model loses with another attention, and what it saves, before any training."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from formers.cli import options
from formers.cli.completion import task_names
from formers.cli.say import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from transformers import PreTrainedModel

    from formers.adapt.report.swap_results import SwapResults
    from formers.adapt.swap_costs import Score, Swap
    from formers.adapt.swap_speed import SwapSpeed

_MIXERS = ["window(64) | sinks(4)", "linear(feature=taylor2)"]
_LENGTHS = tuple(1024 << n for n in range(6))
"""1k … 32k: where caches are counted."""


def adapt(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A causal language model, or with --task a classifier: a folder, or a hub name."
        ),
    ],
    mixer: Annotated[
        list[str] | None, typer.Option(help="A mixer to try; may be given again.", show_default=", ".join(_MIXERS))
    ] = None,
    text: Annotated[Path | None, typer.Option(help="A UTF-8 text to predict.", show_default="Tiny Shakespeare")] = None,
    tokens: Annotated[int, typer.Option(min=16, help="Tokens of the text, from its end.")] = 4096,
    row: Annotated[int, typer.Option(min=2, help="Tokens that the model reads at a time.")] = 1024,
    task: Annotated[
        str | None,
        typer.Option(
            help="Measure a classifier's score on a task instead, like glue/cola, reviews or 'classify(path=…)'.",
            autocompletion=task_names,
        ),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Test texts of the task, at most.")] = 512,
    each_layer: Annotated[bool, typer.Option(help="Also swap each layer alone.")] = True,
    time: Annotated[
        str | None, typer.Option(metavar="LENGTHS", help="Time prompts of these lengths, like 1k,4k,8k, and a token.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Plan for a cache, '1MB at 8k', or for a loss, '+2% perplexity at 8k'.")
    ] = None,
    device: options.ModelDevice = "auto",
    gguf: Annotated[str | None, typer.Option(help="The model's GGUF file, in its folder (needs gguf).")] = None,
    folder: Annotated[Path, typer.Option(help="Where measurements and the page are kept.")] = Path("adapt"),
    parts: options.Parts = None,
) -> None:
    """Measure what another attention costs a pretrained model. Perplexity with each mixer in every layer, and in each
    layer alone, beside the size of its cache.

    The model keeps its weights; see docs/adapt.md. Ctrl-C is no loss: the same command goes on where it stopped. With a
    budget, layers are chosen from the table, and the plan is measured on the text before the one that it was made from;
    `formers repair` makes the model that it says, and trains it.

    An encoder that was fine-tuned on a task keeps no cache; what counts is its score there, on the task's test texts.

    \b
    formers adapt path/to/model
    formers adapt path/to/model --mixer 'window(128) | sinks(4)' --mixer 'window(512)' --text book.txt
    formers adapt path/to/model --no-each-layer --time 1k,4k,8k
    formers adapt path/to/model --budget '1MB at 8k'
    formers adapt path/to/classifier --task glue/cola --mixer 'window(8)' --time 128,512
    """
    from formers.adapt.swap_plan import SwapBudget, state_bytes_per_layer
    from formers.cli.pretrained import parse_lengths, read_model, read_tokens, rows_at_end
    from formers.machine.device import choose_device
    from formers.mixers import Softmax

    mixers, lengths = mixer or _MIXERS, [] if time is None else parse_lengths(time)
    chosen = choose_device(device)
    if task is not None:
        _adapt_classifier(model, task, examples, mixers, lengths, each_layer, folder, chosen)
        return
    wanted = None if budget is None else SwapBudget.parse(budget)
    if wanted is not None and not each_layer:
        raise ValueError("--budget is met layer by layer; leave out --no-each-layer")
    loaded, tokenizer = read_model(model, gguf)
    loaded.to(chosen)
    if wanted is not None:
        state_bytes_per_layer(loaded, Softmax(), wanted.length)  # refuses what no plan is made for
    ids, before = rows_at_end(read_tokens(tokenizer, text), tokens, row)
    swaps, speeds = _measure(loaded, ids, mixers, lengths, each_layer, folder)
    results = _results(model, "Tiny Shakespeare" if text is None else str(text), loaded, ids, mixers, swaps, speeds)
    results = replace(results, states=_states(loaded, mixers))
    if wanted is not None and budget is not None:
        results = _with_plan(results, loaded, mixers, budget, before)
    _show(results, folder)


def _adapt_classifier(
    name: str, task: str, most: int, mixers: list[str], lengths: list[int], each_layer: bool, folder: Path, device: str
) -> None:
    """Measure what each swap costs a classifier on a task, and show it."""
    from formers.adapt.task_score import TaskScore
    from formers.cli.options import read_task
    from formers.cli.pretrained import read_classifier

    model, tokenizer = read_classifier(name)
    model.to(device)
    score = TaskScore.of(made := read_task(task, None), model, tokenizer, name, most)
    swaps, speeds = _measure(model, score.ids_bl, mixers, lengths, each_layer, folder, score)
    results = _results(name, str(made), model, score.ids_bl, mixers, swaps, speeds)
    _show(replace(results, quality=score.metric), folder)


def _measure(
    model: PreTrainedModel,
    ids: Tensor,
    mixers: list[str],
    lengths: list[int],
    each_layer: bool,
    folder: Path,
    score: Score | None = None,
) -> tuple[list[Swap], list[SwapSpeed]]:
    """Return perplexities, or another score, and times; what is there already is not measured again."""
    from formers.adapt.swap_costs import swap_costs
    from formers.adapt.swap_speed import swap_speeds
    from formers.cli.progress import progress_bar
    from formers.lab.train.stop import Stopped

    alone: list[int] | None = None if each_layer else []
    try:
        with progress_bar("measuring") as progress:
            file = folder / "swaps.jsonl"
            swaps = swap_costs(model, ids, mixers, layers=alone, file=file, progress=progress, score=score)
        if not lengths:
            return swaps, []
        with progress_bar("timing") as progress:
            return swaps, swap_speeds(model, mixers, lengths, file=folder / "speeds.jsonl", progress=progress)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {folder} keeps what is done, and the same command goes on from there") from None


def _results(
    name: str,
    text: str,
    model: PreTrainedModel,
    ids: Tensor,
    mixers: Sequence[str],
    swaps: Sequence[Swap],
    speeds: Sequence[SwapSpeed],
) -> SwapResults:
    """Return everything that was measured, and how to measure it again."""
    from datetime import UTC, datetime

    from formers.adapt.report.swap_results import OWN, SwapResults
    from formers.cli.pretrained import short_name
    from formers.machine.environment import environment
    from formers.machine.shell import command_line
    from formers.mixers import Mixer

    return SwapResults(
        model=short_name(name),
        text=text,
        rows=len(ids),
        row=ids.shape[1],
        layers=model.config.num_hidden_layers,
        names={"": OWN} | {str(Mixer.parse(one)): one for one in mixers},
        swaps=tuple(swaps),
        speeds=tuple(speeds),
        environment=environment(model.device),
        command=command_line(["formers", *sys.argv[1:]]),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _states(model: PreTrainedModel, mixers: Sequence[str]) -> dict[str, dict[int, int | None]]:
    """Return the bytes of a row's cache by mixer and length; None where the mixer keeps no state."""
    from formers.adapt.swap_plan import state_bytes_of_layers
    from formers.mixers import Mixer

    parts = {"": Mixer.parse("softmax()")} | {str(part := Mixer.parse(one)): part for one in mixers}
    return {
        key: {
            length: state_bytes_of_layers(model, part, length) if "streaming" in part.abilities else None
            for length in _LENGTHS
        }
        for key, part in parts.items()
    }


def _with_plan(
    results: SwapResults, model: PreTrainedModel, mixers: Sequence[str], budget: str, before: Tensor
) -> SwapResults:
    """Return the results with the plan for a budget, and what it is on tokens that it was not made from."""
    import math

    from formers.adapt.report.swap_results import PlanResult
    from formers.adapt.swap_costs import mean_nats
    from formers.adapt.swap_plan import SwapBudget, plan_swaps, state_bytes_per_layer
    from formers.adapt.use_attention import use_attention
    from formers.mixers import Mixer

    wanted = SwapBudget.parse(budget)
    parts = [Mixer.parse(text) for text in ("softmax()", *mixers)]
    sizes = {str(part): state_bytes_per_layer(model, part, wanted.length) for part in parts}
    plan = plan_swaps(results.swaps, sizes, wanted)
    own = planned = None
    if len(before):
        own = math.exp(mean_nats(model, before))
        planned = math.exp(mean_nats(use_attention(model, plan.mixers), before))
    found = PlanResult(
        budget=budget,
        length=wanted.length,
        mixers=tuple(map(str, plan.mixers)),
        state_bytes=plan.state_bytes,
        expected=math.expm1(plan.added_nats),
        tokens=before.numel(),
        own=own,
        planned=planned,
    )
    return replace(results, plan=found)


def _show(results: SwapResults, folder: Path) -> None:
    """Write the results, print tables, and draw the picture and the page: what was measured is there whatever fails."""
    from formers.adapt.report.swap_page import write_swap_page
    from formers.adapt.report.swap_results import write_swap_results
    from formers.cli.running import print_path
    from formers.cli.swap_image import save_swaps
    from formers.cli.swap_tables import say_plan, say_speeds, say_swaps

    write_swap_results(results, folder / "swaps.json")
    tokens = f"{results.rows * results.row:,} tokens in rows of {results.row:,}"
    say(f"{results.rows:,} test texts of {results.text}\n" if results.is_score else f"{tokens}\n")
    say_swaps(results)
    if results.speeds:
        say_speeds(results)
    if results.plan is not None:
        say_plan(results)
    if results.alone:
        save_swaps(results.swaps, folder / "swaps.png", results.quality if results.is_score else None)
    print_path("page", write_swap_page(results, folder / "swaps.html").resolve())
