"""Half of SmolLM2's layers as a window with sinks, and with sums over far tokens beside it: perplexity by position.

    python docs/studies/smollm2_windows.py MODEL.gguf out.json own windowed=windowed/model window=window/model

The models are folders that `formers repair` saved, each with a name; `own` is the model as it was, and `untrained` it
with window(64) | sinks(4) in the layers in which the others differ from it. They read rows of 2,048 tokens of texts
that none has learned from: film reviews from the 901st on, and the end of Tiny Shakespeare, one row of each in turn.
Losses of tokens are kept in the file's folder, so that the same command goes on where it was stopped.
"""

from __future__ import annotations

import json
import math
import os
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import formers.models  # noqa: F401  so that its own models are known
from formers.adapt import convert, from_hf
from formers.machine.quiet_libraries import quiet_loading
from formers.models import CausalLM
from formers.tasks.text import read_text

ROW, ROWS = 2048, 2
BANDS = (0, 256, 512, 1024, 1536, 2048)
LAYERS = "0,2,5,6,9,10,13,15,21,22,24,25,26,28,29"
PART = 64
"""Tokens whose mean counts as one observation: losses of neighbours are not independent."""


def texts(reviews: Path, tokenizer: Any) -> dict[str, Tensor]:
    """Return rows of tokens, (ROWS, ROW), of each text."""
    with zipfile.ZipFile(reviews) as file:
        names = sorted(name for name in file.namelist() if name.endswith(".txt"))[901:930]
        films = "\n".join(file.read(name).decode("latin1") for name in names)
    plays = tokenizer(read_text(None)[-40_000:], verbose=False)["input_ids"][-ROWS * ROW :]
    films = tokenizer(films, verbose=False)["input_ids"][: ROWS * ROW]
    return {name: torch.tensor(ids).view(ROWS, ROW) for name, ids in (("reviews", films), ("Shakespeare", plays))}


@torch.no_grad()
def losses(model: CausalLM, row: Tensor) -> list[float]:
    """Return −log p of each token of a row but the first; products of hidden states are made in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.base_model(input_ids=row[None], use_cache=False).last_hidden_state[0, :-1].float()
    head, found = model.get_output_embeddings(), list[Tensor]()
    for x, wanted in zip(hidden.split(256), row[1:].split(256), strict=True):
        found.append(torch.nn.functional.cross_entropy(head(x), wanted, reduction="none"))
    return torch.cat(found).tolist()


def opened(words: str, own: CausalLM) -> CausalLM:
    """Return a model by its word on the command line."""
    if words == "own":
        return own
    if words == "untrained":
        return convert(own, {LAYERS: "window(64) | sinks(4)"}).model.eval()
    return AutoModelForCausalLM.from_pretrained(words.split("=")[1]).eval()


def compared(a: Tensor, b: Tensor) -> dict[str, list[float]]:
    """Return the ratio of perplexities by band of positions, and its standard error over parts of the text."""
    found = dict[str, list[float]]()
    for low, high in pairwise(BANDS):
        off = (a - b)[:, max(0, low - 1) : high - 1]
        parts = torch.cat([row[: len(row) // PART * PART].view(-1, PART).mean(1) for row in off])
        ratio = math.exp(off.mean())
        found[f"{low}-{high}"] = [round(ratio, 4), round(ratio * float(parts.std()) / math.sqrt(len(parts)), 4)]
    return found


def main() -> None:
    gguf, out, models = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    kept = out.with_suffix(".losses.json")
    found: dict[str, list[float]] = json.loads(kept.read_text()) if kept.exists() else {}
    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        own = from_hf(loaded).eval()
        arms = {words.split("=")[0]: opened(words, own) for words in models}
    rows = texts(Path(os.environ["FORMERS_DATA"]) / "movie_reviews" / "movie_reviews.zip", tokenizer)
    for number in range(ROWS):
        for text, ids in rows.items():
            for arm, model in arms.items():
                if (key := f"{text} {number} {arm}") not in found:
                    found[key] = losses(model, ids[number])
                    kept.write_text(json.dumps(found))
                    print(key, round(sum(found[key]) / len(found[key]), 4), flush=True)
    result: dict[str, Any] = {"rows": ROWS, "row": ROW, "layers": LAYERS, "ratios": {}, "perplexity": {}}
    for text in rows:
        of = {arm: torch.tensor([found[f"{text} {number} {arm}"] for number in range(ROWS)]) for arm in arms}
        result["perplexity"][text] = {arm: round(math.exp(x.mean()), 3) for arm, x in of.items()}
        pairs = [(arm, "own") for arm in arms if arm != "own"]
        pairs += [("windowed", "window")] if {"windowed", "window"} <= arms.keys() else []
        result["ratios"][text] = {f"{a} / {b}": compared(of[a], of[b]) for a, b in pairs}
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
