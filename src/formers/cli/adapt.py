"""`formers adapt`: what a pretrained model loses with another attention, before any training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli.say import say

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from formers.adapt.swap_costs import Swap
    from formers.adapt.swap_plan import SwapBudget

_MIXERS = ["window(64) | sinks(4)", "linear(feature=taylor2)"]
_LENGTHS = (1024, 8192, 32768)


def adapt(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A causal language model: a folder, or a hub name.")],
    mixer: Annotated[
        list[str] | None, typer.Option(help="A mixer to try; may be given again.", show_default=", ".join(_MIXERS))
    ] = None,
    text: Annotated[Path | None, typer.Option(help="A UTF-8 text to predict.", show_default="Tiny Shakespeare")] = None,
    tokens: Annotated[int, typer.Option(min=16, help="Tokens of the text, from its end.")] = 4096,
    row: Annotated[int, typer.Option(min=2, help="Tokens that the model reads at a time.")] = 1024,
    each_layer: Annotated[bool, typer.Option(help="Also swap each layer alone.")] = True,
    budget: Annotated[
        str | None, typer.Option(help="Plan for a cache, '1MB at 8k', or for a loss, '+2% perplexity at 8k'.")
    ] = None,
    gguf: Annotated[str | None, typer.Option(help="The model's GGUF file, in its folder (needs gguf).")] = None,
    folder: Annotated[Path, typer.Option(help="Where measurements and the picture are kept.")] = Path("adapt"),
) -> None:
    """Measure what each swap costs: perplexity with a mixer in every layer, and in each layer alone.

    The model keeps its weights; see docs/adapt.md. Ctrl-C is no loss: the same command goes on where it stopped. With a
    budget, layers are chosen from the table, and the plan is measured on the text before the one that it was made from.

    \b
    formers adapt path/to/model
    formers adapt path/to/model --mixer 'window(128) | sinks(4)' --mixer 'window(512)' --text book.txt
    formers adapt path/to/model --budget '1MB at 8k'
    """
    from formers.adapt.swap_costs import swap_costs
    from formers.adapt.swap_plan import SwapBudget
    from formers.cli.progress import progress_bar
    from formers.cli.swap_image import save_swaps
    from formers.lab.train.stop import Stopped

    mixers = mixer or _MIXERS
    wanted = None if budget is None else SwapBudget.parse(budget)
    if wanted is not None and not each_layer:
        raise ValueError("--budget is met layer by layer; leave out --no-each-layer")
    loaded, before, ids = _read(model, gguf, text, tokens, row)
    try:
        with progress_bar("measuring") as progress:
            swaps = swap_costs(
                loaded,
                ids,
                mixers,
                layers=None if each_layer else [],
                file=folder / "swaps.jsonl",
                progress=progress,
            )
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {folder} keeps what is done, and the same command goes on from there") from None
    say(f"{ids.numel():,} tokens in rows of {ids.shape[1]:,}\n")
    _say_table(swaps, loaded, mixers)
    if each_layer:
        save_swaps(swaps, folder / "swaps.png")
        say(f"\neach layer alone: {folder / 'swaps.png'}")
    if wanted is not None:
        _say_plan(swaps, loaded, mixers, wanted, before)


def _read(
    name: str, gguf: str | None, text: Path | None, tokens: int, row: int
) -> tuple[PreTrainedModel, Tensor, Tensor]:
    """Return the model, and tokens in rows: those that a plan is measured on, and those behind them, for the table."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from formers.tasks.text import read_text

    disable_progress_bar()
    more: dict[str, Any] = {} if gguf is None else {"gguf_file": gguf}
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
        raise ValueError(f"there is no folder {name}; give one with a model and its tokenizer, or a hub name")
    tokenizer = AutoTokenizer.from_pretrained(name, **more)
    ids = torch.tensor(tokenizer(read_text(None if text is None else str(text)))["input_ids"])
    rows = min(tokens, len(ids)) // row
    if not rows:
        raise ValueError(f"the text has {len(ids):,} tokens, not the {row:,} of one row; give a longer one, or --row")
    model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, **more).eval()
    before = ids[: len(ids) - rows * row][-rows * row :]
    return model, before[len(before) % row :].view(-1, row), ids[-rows * row :].view(rows, row)


def _say_table(swaps: Sequence[Swap], model: PreTrainedModel, mixers: Sequence[str]) -> None:
    """Print perplexity and cache of the model as it is, and with each mixer in all layers."""
    from rich.console import Console

    from formers.adapt.swap_plan import state_bytes_per_layer
    from formers.mixers import Mixer
    from formers.plot.fitting_table import FittingColumn, FittingTable
    from formers.plot.number_format import size

    def cache(mixer: Mixer, length: int) -> str:
        streams = "streaming" in mixer.abilities
        return size(depth * state_bytes_per_layer(model, mixer, length) if streams else None)

    own, depth = swaps[0], model.config.num_hidden_layers
    names = {str(Mixer.parse(text)): text for text in mixers} | {"": "its own"}
    caches = [FittingColumn(title=f"cache, {length // 1024}k", spare=1) for length in _LENGTHS]
    numbers = [FittingColumn(title=title) for title in ("perplexity", "ratio")]
    table = FittingTable(columns=[FittingColumn(title="in every layer", text=True), *numbers, *caches])
    for swap in (one for one in swaps if len(one.layers) != 1):
        part = Mixer.parse(swap.mixer or "softmax()")
        ratio = f"{swap.perplexity / own.perplexity:.3g}"
        cells = [names[swap.mixer], f"{swap.perplexity:,.4g}", ratio, *(cache(part, length) for length in _LENGTHS)]
        table.add_row(cells)
    Console().print(table)


def _say_plan(
    swaps: Sequence[Swap], model: PreTrainedModel, mixers: Sequence[str], budget: SwapBudget, before: Tensor
) -> None:
    """Print the plan for a budget, and what it is on tokens that it was not made from."""
    from formers.adapt.swap_costs import mean_nats
    from formers.adapt.swap_plan import plan_swaps, state_bytes_per_layer
    from formers.adapt.use_attention import use_attention
    from formers.mixers import Mixer
    from formers.plot.number_format import size

    parts = [Mixer.parse(text) for text in ("softmax()", *mixers)]
    plan = plan_swaps(swaps, {str(part): state_bytes_per_layer(model, part, budget.length) for part in parts}, budget)
    say(f"\nplan: {size(plan.state_bytes)} a row after {budget.length:,} tokens")
    for mixer in dict.fromkeys(plan.mixers):
        layers = [layer for layer, taken in enumerate(plan.mixers) if taken == mixer]
        say(f"  {mixer}: layers {', '.join(map(str, layers))}")
    if not len(before):
        say("the text has no tokens left to measure it on; give fewer --tokens")
        return
    own = mean_nats(model, before)
    changed = mean_nats(use_attention(model, plan.mixers), before)
    expected, measured = math.expm1(plan.added_nats), math.expm1(changed - own)
    say(
        f"perplexity: {expected:+.1%} expected from each layer alone; {measured:+.1%} measured on the "
        f"{before.numel():,} tokens before, {math.exp(own):.4g} to {math.exp(changed):.4g}"
    )
