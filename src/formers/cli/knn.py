"""Predict a text better with nearest neighbours (kNN-LM). The trained model stays as it is.

\b
1. formers train shakespeare --folder my-model
2. formers knn build my-model store
       a datastore: every context of a text, as the model sees it, and the character that followed
3. formers knn tune my-model store
       how much to trust the neighbours, chosen on the validation split
4. formers knn eval my-model store --k 256 --temperature 20 --weight 0.2
       bits per character on the test split, with and without them

A second text needs no training either: build a datastore of it, and name both. Of a model with a tokenizer, tokens take
the place of characters.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from formers.cli import options
from formers.cli.progress import progress_bar
from formers.cli.say import say
from formers.cli.text_model import model_folder, split_ids, text_coder, text_model

if TYPE_CHECKING:
    from torch import Tensor

    from formers.models import CausalLM
    from formers.retrieval import KnnOptions, Reading, Retriever

ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="A model's folder, or a study's with one model.")]
Stores = Annotated[list[Path], typer.Argument(help="Folders of datastores; several are searched as if they were one.")]
TextFile = Annotated[
    Path | None,
    typer.Option("--text", help="A UTF-8 text, or with a tokenizer any corpus; Tiny Shakespeare without it."),
]
Split = Annotated[str, typer.Option(help="Which part of the text: train, validation, test or all.")]
Length = Annotated[
    int | None,
    typer.Option(help="Characters, or tokens, the model reads at once.", show_default="the model's own length"),
]
Overlap = Annotated[int, typer.Option("--context", help="Of these, the first that are context only.")]
IndexText = Annotated[
    str, typer.Option("--index", help="How neighbours are found: exact, flat or 'ivf_pq(probes=32)'.")
]
Drop = Annotated[bool, typer.Option("--drop-unknown", help="Leave out characters that the model does not know.")]


def build(
    model: ModelFolder,
    folder: Annotated[Path, typer.Argument(help="The new datastore's folder.")],
    text: TextFile = None,
    split: Split = "train",
    length: Length = None,
    context: Overlap = 0,
    key: Annotated[str, typer.Option(help="What represents a context: ffn_input or hidden.")] = "ffn_input",
    dtype: Annotated[str, typer.Option(help="Of the keys: float16 or float32.")] = "float16",
    drop_unknown: Drop = False,
    device: options.ModelDevice = "auto",
    parts: options.Parts = None,
) -> None:
    """Make a datastore of a text with a trained model. Ctrl-C is no loss: the same command goes on where it stopped.

    \b
    formers knn build my-model store
    formers knn build my-model second --text reviews.txt --drop-unknown
        another text, for the same model
    """
    from formers.lab.train.stop import Stopped
    from formers.part import check_names
    from formers.retrieval import build_datastore

    check_names("--key", [key], ["ffn_input", "hidden"], word="representation")
    check_names("--dtype", [dtype], ["float16", "float32"], word="dtype")
    loaded, ids, _ = _read(model, text, split, drop_unknown, device)
    reading = _reading(loaded, length, context)
    try:
        with progress_bar("reading") as progress:
            store = build_datastore(loaded, ids, folder, reading, key=key, dtype=dtype, progress=progress)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        raise Stopped(f"stopped; {folder} keeps what is done, and the same command goes on from there") from None
    say(f"{len(store):,} entries of {store.header.width} values: {folder}")


def tune(
    model: ModelFolder,
    folders: Stores,
    text: TextFile = None,
    split: Split = "validation",
    length: Length = None,
    context: Overlap = 0,
    index: IndexText = "exact",
    tokens: Annotated[
        int,
        typer.Option("--tokens", "--characters", min=2, help="How many of the split are read, from its start."),
    ] = 20_000,
    drop_unknown: Drop = False,
    device: options.ModelDevice = "auto",
    parts: options.Parts = None,
) -> None:
    """Choose how many neighbours to ask, and their weight. The text is one that the datastores do not hold.

    exact and flat compare every entry; ivf_pq is for millions of them. flat and ivf_pq need the extra `retrieval`.

    \b
    formers knn tune my-model store
    formers knn tune my-model store second --text reviews.txt --drop-unknown --index 'ivf_pq(probes=32)'
    """
    from formers.retrieval import tune as tuned

    loaded, ids, unit = _read(model, text, split, drop_unknown, device)
    retriever = _retriever(folders, loaded, index)
    with progress_bar("asking") as progress:
        found = tuned(loaded, retriever, ids[:tokens], _reading(loaded, length, context), progress=progress)
    say(f"model alone      {found.model.bits:.4f} bits/{unit}")
    for k in sorted({k for k, _ in found.table}):
        (_, temperature), (weight, score) = min(
            (row for row in found.table.items() if row[0][0] == k), key=lambda row: row[1][1].nats
        )
        best = "  <- best" if k == found.options.k else ""
        say(f"k={k:<5} T={temperature:<9.4g} lambda={weight:<5g} {score.bits:.4f}{best}")
    same: dict[str, Any] = {"--text": text, "--length": length, "--context": context or None}
    same |= {"--index": None if index == "exact" else index}
    words = [word for name, value in options.given(same).items() for word in (name, value)]
    words += ["--drop-unknown"] if drop_unknown else []
    words += [word for file in parts or () for word in ("--parts", file)]
    say(f"\n{_eval_command([model, *folders], found.options, words)}")


def evaluate(
    model: ModelFolder,
    folders: Stores,
    k: Annotated[int, typer.Option(min=1, help="Neighbours of each character or token.")] = 1024,
    temperature: Annotated[float, typer.Option(help="T in exp(-d/T), of the size of the distances.")] = 1.0,
    weight: Annotated[float, typer.Option(min=0, max=1, help="The neighbours' share of the prediction.")] = 0.25,
    text: TextFile = None,
    split: Split = "test",
    length: Length = None,
    context: Overlap = 0,
    index: IndexText = "exact",
    drop_unknown: Drop = False,
    device: options.ModelDevice = "auto",
    parts: options.Parts = None,
) -> None:
    """Measure a model on a text with and without its neighbours. `formers knn tune` finds k, T and weight.

    \b
    formers knn eval my-model store --k 256 --temperature 20 --weight 0.2
    """
    from formers.retrieval import KnnLM, KnnOptions, score_text

    loaded, ids, unit = _read(model, text, split, drop_unknown, device)
    reading = _reading(loaded, length, context)
    knn = KnnLM(loaded, _retriever(folders, loaded, index), KnnOptions(k=k, temperature=temperature, weight=weight))
    alone = score_text(loaded, ids, reading)
    with progress_bar("asking") as progress:
        mixed = score_text(knn, ids, reading, progress)
    for name, score in {"model alone": alone, "with neighbours": mixed}.items():
        say(f"{name:<16} {score.bits:.4f} bits/{unit}, perplexity {score.perplexity:.3f}")


def _eval_command(folders: list[Path], found: KnnOptions, words: list[Any]) -> str:
    """Return the command that measures a model and its datastores with options found, and with other words."""
    from formers.machine.shell import command_line

    chosen = ["--k", found.k, "--temperature", f"{found.temperature:.6g}", "--weight", f"{found.weight:g}"]
    return command_line(list(map(str, ["formers", "knn", "eval", *folders, *chosen, *words])))


def _read(folder: Path, text: Path | None, split: str, drop_unknown: bool, device: str) -> tuple[CausalLM, Tensor, str]:
    """Return the model in a folder, the part of the text that is asked for as its numbers (N,), and what one is of."""
    from formers.machine.device import choose_device
    from formers.part import check_names

    chosen = choose_device(device)
    place = model_folder(folder)
    coder = text_coder(place)
    parts = split_ids(coder, text, drop_unknown=drop_unknown)
    check_names("--split", [split], [*parts], word="part")
    return text_model(place, coder).to(chosen), parts[split], coder.unit  # type: ignore[index]


def _reading(model: CausalLM, length: int | None, context: int) -> Reading:
    from formers.retrieval import Reading

    return Reading(length=length or model.config.context_length, context=context)


def _retriever(folders: list[Path], model: CausalLM, index: str) -> Retriever:
    """Return the retriever over the datastores; an index that is not there yet is built."""
    from formers.retrieval import Index, Retriever

    with progress_bar("indexing") as progress:
        return Retriever.open(folders, model, Index.parse(index), progress)
