"""`formers needle`: does a model find a fact in a long text, at which lengths and depths?"""

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
    from formers.evaluation.needle_grid import NeedleGrid


def needle(
    model: Model,
    lengths: Annotated[str, typer.Option(help="Tokens of the texts, like 1k,2k,4k.")] = "512,1k,2k",
    depths: Annotated[int, typer.Option(min=2, max=101, help="Places of the fact, evenly from begin to end.")] = 5,
    each: Annotated[int, typer.Option(min=1, help="Texts at each length and depth.")] = 4,
    keys: Annotated[int, typer.Option(min=1, help="Facts about different names; one is asked for.")] = 1,
    values: Annotated[int, typer.Option(min=1, help="Facts about each name, which are asked for together.")] = 1,
    hops: Annotated[int, typer.Option(min=0, help="Names that lead to another one before the fact.")] = 0,
    text: Annotated[
        Path | None, typer.Option(help="A UTF-8 text to hide facts in.", show_default="Tiny Shakespeare")
    ] = None,
    mixer: OtherMixer = None,
    layers: OtherLayers = None,
    gguf: Gguf = None,
    batch: Batch = 4,
    device: options.ModelDevice = "auto",
    precision: Precision = "fp32",
    folder: ResultsFolder = None,
    as_json: AsJson = False,
    parts: options.Parts = None,
) -> None:
    """Hide facts in a long text, and ask a model for one. Accuracy by length and depth, as a table and a heat map.

    \b
    formers needle path/to/model --lengths 1k,2k,4k
    formers needle path/to/model --keys 8 --lengths 1k,2k --mixer 'window(512) | sinks(4)'
    formers needle path/to/model --mixer 'window(256) | sinks(4)' --layers 0:6,9:18,24:
    formers needle path/to/model --hops 2

    Takes any causal language model, trained here or pretrained. Ctrl-C is no loss: the same command goes on where it
    stopped. To train models on such texts of symbols, see `formers ablate needle`, and docs/evaluation.md.
    """
    from dataclasses import asdict

    from formers.cli.evaluated_model import check_length, open_text_model
    from formers.cli.evaluation_results import (
        attention_name,
        evaluation_report,
        file_stem,
        model_in_name,
        write_report,
    )
    from formers.cli.needle_image import save_needle_grid
    from formers.cli.pretrained import parse_lengths
    from formers.cli.progress import progress_bar
    from formers.evaluation.fingerprint import answers_key
    from formers.evaluation.needle_grid import find_needles
    from formers.evaluation.needle_text import NeedleText
    from formers.lab.train.stop import Stopped
    from formers.tasks.needle.facts import Hiding
    from formers.tasks.text import read_text

    counts, shares = parse_lengths(lengths), [place / (depths - 1) for place in range(depths)]
    asked, place = open_text_model(
        model, mixer, layers=layers, gguf=gguf, length=None, batch=batch, device=device, precision=precision
    )
    stem = file_stem(
        f"needle-keys{keys}-values{values}-hops{hops}",
        needle,
        lengths=lengths,
        depths=depths,
        each=each,
        text=text,
        mixer=mixer,
        layers=layers,
        gguf=gguf,
        precision=precision,
        **model_in_name(model, folder),
    )
    mixer = attention_name(mixer, layers)
    check_length(asked.model, max(counts))
    content = read_text(None if text is None else str(text))
    lines = [line for line in content.splitlines() if line.strip()]
    hiding = Hiding(keys=keys, values=values, hops=hops)
    folder = folder or place / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f".needle-{answers_key(asked, hiding, content)}.jsonl"
    prompts = NeedleText(hiding=hiding, lines=lines, coder=asked.coder)
    try:
        with progress_bar("asking") as progress:
            grid = find_needles(asked, prompts, counts, shares, each, file=file, progress=progress)
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {folder} keeps what is done, and the same command goes on from there") from None
    settings = {"hiding": asdict(hiding), "text": "Tiny Shakespeare" if text is None else str(text)}
    report = evaluation_report(asked, model, mixer, asdict(grid), settings | {"precision": precision})
    write_report(report, folder / f"{stem}.json", as_json)
    save_needle_grid(grid, folder / f"{stem}.png")
    file.unlink()  # now that the results are on the disk
    if not as_json:
        _show(grid)
        say(f"results: {folder / stem}.json, {folder / stem}.png")


def _show(grid: NeedleGrid) -> None:
    """Print accuracy by length and depth."""
    from rich.table import Table

    texts = "one text" if grid.each == 1 else f"{grid.each} texts"
    say(f"share of answers found, {texts} at each length and depth of the fact\n")
    table = Table("tokens", *(f"{depth:.0%}" for depth in grid.depths), "mean", box=None, pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for length, row in zip(grid.lengths, grid.shares, strict=True):
        table.add_row(f"{length:,}", *(f"{share:.2f}" for share in row), f"{grid.at_length(length):.2f}")
    table_console().print(table, highlight=False)
