"""`formers repair`: a pretrained model takes other mixers, learns from what it was, and is saved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli import options
from formers.cli.say import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from formers.adapt.repair_run import RepairPlan, RepairStage
    from formers.adapt.report.repair_page import RepairResults
    from formers.models.pretrained import FormersModel

_MIXER = "window(256) | sinks(4)"


def repair(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A causal language model: a folder, or a hub name.")],
    mixer: Annotated[
        list[str] | None, typer.Option(help="A mixer; several go round the layers.", show_default=_MIXER)
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers that take the mixer, '::2' or '0,3,8:'; the others keep theirs.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="A plan instead: the swaps.json that `formers adapt --budget` wrote.")
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="A UTF-8 text to learn from.", show_default="Tiny Shakespeare")
    ] = None,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of it to learn from.")] = 65536,
    held_out: Annotated[int, typer.Option(min=4, help="Tokens from its end to measure.")] = 8192,
    row: Annotated[int, typer.Option(min=2, help="Tokens that the model reads at a time.")] = 512,
    batch: Annotated[int, typer.Option(min=1, help="Rows in a step.")] = 2,
    transfer: Annotated[int, typer.Option(min=0, help="Steps of attention transfer in each layer; 0 = none.")] = 100,
    tune: Annotated[int, typer.Option(min=0, help="Steps of tuning the whole model; 0 = none.")] = 200,
    rank: Annotated[int, typer.Option(min=0, help="Of the adapters that are tuned; 0 = all weights.")] = 16,
    transfer_rate: Annotated[float, typer.Option(min=0, help="Learning rate of the transfer.")] = 1e-2,
    tune_rate: Annotated[float, typer.Option(min=0, help="Learning rate of the tuning.")] = 3e-4,
    bf16: Annotated[
        bool,
        typer.Option("--bf16", help="Train with products in bfloat16: half the time on new machines."),
    ] = False,
    device: options.ModelDevice = "auto",
    time: Annotated[
        str | None, typer.Option(metavar="LENGTHS", help="Time prompts of these lengths, like 1k,8k.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of new weights and of the order of the text.")] = 0,
    gguf: Annotated[str | None, typer.Option(help="The model's GGUF file, in its folder (needs gguf).")] = None,
    folder: Annotated[Path, typer.Option(help="Where checkpoints, the page and the model are kept.")] = Path("repair"),
    parts: options.Parts = None,
) -> None:
    """Give a pretrained model other mixers, repair it, and save it.

    Three stages, each measured: the swap; attention transfer, in which each new mixer learns the old one's output; and
    tuning on the old model's predictions, with adapters (LoRA) that are merged, or of all weights (--rank 0). Ctrl-C is
    no loss: the same command goes on where it stopped. The model is saved with its tokenizer in FOLDER/model.

    \b
    formers repair path/to/model --mixer 'window(256) | sinks(4)' --text book.txt
    formers repair path/to/model --mixer 'windowed_linear(window=64)' --layers '::2'
    formers repair path/to/model --plan adapt/swaps.json --time 1k,8k
    """
    from formers.adapt.repair_run import RepairPlan
    from formers.cli.pretrained import parse_lengths, read_model, read_tokens, short_name
    from formers.lab.study.budget import Budget
    from formers.machine.device import choose_device

    choice = _choice(mixer, layers, plan)
    lengths = () if time is None else tuple(parse_lengths(time))
    chosen = choose_device(device)
    loaded, tokenizer = read_model(model, gguf)
    rows, held = _cut(read_tokens(tokenizer, text), tokens, held_out, row)
    # the model as it was read stays where it is: on a GPU it would be a third copy
    teacher, student = (one.to(chosen) for one in _models(loaded, choice, seed))
    stages = RepairPlan(
        transfer=Budget(steps=transfer, batch_size=batch, learning_rate=transfer_rate) if transfer else None,
        tuning=Budget(steps=tune, batch_size=batch, learning_rate=tune_rate) if tune else None,
        lora=_lora(rank) if tune and rank else None,
        lengths=lengths,
        seed=seed,
        bf16=bf16,
    )
    found = _run(teacher, student, rows, held, folder, stages)
    name = "Tiny Shakespeare" if text is None else str(text)
    results = _results(short_name(model), name, student, found, rows, held, stages)
    student.generation_config = loaded.generation_config
    _save(student, tokenizer, results, folder)


def _choice(mixer: list[str] | None, layers: str | None, plan: Path | None) -> Any:
    """Return the mixers as `convert` takes them. Raise ValueError for options that exclude each other."""
    from formers.adapt.report.swap_results import read_swap_results

    if plan is None:
        mixers = mixer or [_MIXER]
        if layers is None:
            return mixers
        if len(mixers) > 1:
            raise ValueError(f"--layers is for one mixer, and {len(mixers)} were given; leave it out to cycle them")
        return {layers: mixers[0]}
    found = read_swap_results(plan).plan
    if found is None:
        raise ValueError(f"{plan} holds no plan; make one with formers adapt MODEL --budget '1MB at 8k'")
    return {layer: one for layer, one in enumerate(found.mixers) if one != "softmax()"}


def _cut(ids: Tensor, tokens: int, held_out: int, row: int) -> tuple[Tensor, Tensor]:
    """Return rows to learn from, the last before those held out, and these, from the end of the text."""
    held, learnt = held_out // row, tokens // row
    if len(ids) // row < held + 1 or held < 2 or not learnt:
        raise ValueError(
            f"the text has {len(ids):,} tokens, --held-out is {held_out:,} and --tokens {tokens:,}; in rows of {row:,} "
            "at least 2 are held out and 1 is learnt from: give a longer text, or a shorter --row"
        )
    rows = ids[-(len(ids) // row * row) :].view(-1, row)
    return rows[:-held][-learnt:], rows[-held:]


def _lora(rank: int) -> Any:
    from formers.adapt.lora import LoraOptions

    return LoraOptions(rank=rank, alpha=2.0 * rank)


def _models(loaded: Any, choice: Any, seed: int) -> tuple[FormersModel, FormersModel]:
    """Return the model as one of this library, and the one with other mixers."""
    import warnings

    import torch

    from formers.adapt import from_hf
    from formers.adapt.convert import convert
    from formers.models.pretrained import FormersModel

    teacher = loaded if isinstance(loaded, FormersModel) else from_hf(loaded)
    torch.manual_seed(seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = convert(teacher.eval(), choice)
    for warning in caught:
        say(str(warning.message))
    student: FormersModel = made.model
    return teacher, student.eval()


def _run(
    teacher: FormersModel, student: FormersModel, rows: Tensor, held: Tensor, folder: Path, plan: RepairPlan
) -> list[RepairStage]:
    """Run the stages, and show their progress."""
    from formers.adapt.repair_run import repair_model
    from formers.cli.progress import progress_bars
    from formers.lab.train.stop import Stopped

    try:
        with progress_bars() as show:
            return repair_model(teacher, student, rows, held, folder, plan, progress=show)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {folder} keeps what is done, and the same command goes on from there") from None


def _results(
    model: str,
    text: str,
    student: FormersModel,
    stages: Sequence[RepairStage],
    rows: Tensor,
    held: Tensor,
    plan: RepairPlan,
) -> RepairResults:
    """Return everything that was measured, and how to do it again."""
    from datetime import UTC, datetime

    from formers.adapt.report.repair_page import RepairResults
    from formers.machine.environment import environment
    from formers.machine.shell import command_line

    return RepairResults(
        model=model,
        text=text,
        rows=len(rows),
        held_out=len(held),
        row=rows.shape[1],
        mixers=tuple(str(student.config.mixer_at(layer)) for layer in range(student.config.depth)),
        stages=tuple(stages),
        settings=_settings(plan, rows.shape[1]),
        environment=environment(student.device),
        command=command_line(["formers", *sys.argv[1:]]),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _save(student: FormersModel, tokenizer: Any, results: RepairResults, folder: Path) -> None:
    """Save the model, the results and their page, and print the stages."""
    from formers.adapt.report.repair_page import write_repair_results
    from formers.cli.running import print_path
    from formers.cli.swap_tables import say_stages
    from formers.machine.quiet_libraries import quiet_loading

    with quiet_loading():
        student.save_pretrained(folder / "model", tokenizer=tokenizer)
    page = write_repair_results(results, folder)
    say_stages(results)
    print_path("model", (folder / "model").resolve())
    print_path("page", page.resolve())


def _settings(plan: RepairPlan, row: int) -> dict[str, str]:
    """Return the training in words."""
    tuned = "all weights" if plan.lora is None else f"adapters of rank {plan.lora.rank} on {plan.lora.targets}"
    return {
        "transfer": "none" if plan.transfer is None else f"{plan.transfer.describe(row)}, in each layer",
        "tuning": "none" if plan.tuning is None else f"{plan.tuning.describe(row)}, {tuned}",
        "seed": str(plan.seed),
        "products": "bfloat16 while training, float32 while measuring" if plan.bf16 else "float32",
    }
