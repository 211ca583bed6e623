"""The study of SPALM: does a trained Transformer-XL gain more from neighbours, or from as much more training?

    python docs/studies/spalm.py FOLDER [SEED …]      # four minutes of one core a seed

A model with a recurrent memory learns Shakespeare's plays, and is kept. It makes a datastore of the first 400,000
characters. Then it goes on, on the last 205,000 of the training text: as it was, and as a SPALM, whose neighbours the
kept model finds in the datastore; and, on the whole text again, as it was for as many seconds of the processor as
datastore, look-ups and training of the SPALM have taken together. The kept model and the last one are measured with the
neighbours of a kNN-LM, too, each with a datastore of its own.

The folder holds the models, the datastores and `results.json`. A run that was stopped goes on with what is missing.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from formers.models import CausalLM, TransformerConfig
from formers.models.cache import StateCache
from formers.part import evaluating
from formers.retrieval import IvfPq, KnnLM, Reading, Retriever, Spalm, build_datastore, neighbours_of, tune
from formers.tasks.text import load_text

ROWS, LENGTH, MEMORY = 16, 64, 64
STORED, NEW, TESTED, TUNED_ON = 400_000, 205_000, 30_000, 4_000
BASE_STEPS, BASE_RATE, STEPS, RATE = 700, 5e-3, 200, 2e-3
K, INDEX, READING = 16, IvfPq(probes=16), Reading(length=128, context=63)


class Clock:
    """Seconds of the processor since it was last asked."""

    def __init__(self) -> None:
        self.last = time.process_time()

    def lap(self) -> float:
        last, self.last = self.last, time.process_time()
        return self.last - last


def strips(x: Tensor, rows: int) -> Tensor:
    """Return a text (N, …) as rows that are read side by side, (rows, tokens, …)."""
    return x[: len(x) // rows * rows].unflatten(0, (rows, -1))


def segments(ids: Tensor, near: Tensor | None, rows: int, steps: int | None = None) -> Any:
    """Yield segments of a text in strips: whether it is the first of the strips, tokens, targets, neighbours.

    The text is read once, or anew from its start until there were `steps` segments.
    """
    inputs, targets = strips(ids[:-1], rows), strips(ids[1:], rows)
    beside = None if near is None else strips(near, rows)
    starts = range(0, inputs.shape[1] - LENGTH + 1, LENGTH)
    for step in range(len(starts) if steps is None else steps):
        start = starts[step % len(starts)]
        part = slice(start, start + LENGTH)
        yield start == 0, inputs[:, part], targets[:, part], None if beside is None else beside[:, part].long()


def nats_of(model: CausalLM, ids: Tensor, targets: Tensor, near: Tensor | None, past: Any) -> tuple[Tensor, Any]:
    """Return the mean −log p of a segment's targets, and the memory behind it."""
    given = {} if near is None else {"neighbour_ids": near}
    out = model(ids, past_key_values=past, use_cache=True, **given)
    return cross_entropy(out.logits.flatten(0, 1), targets.flatten()), out.past_key_values


def train(model: CausalLM, ids: Tensor, near: Tensor | None, steps: int, rate: float) -> None:
    """Train on segments that follow each other, with AdamW and a schedule that warms up and ends at zero."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    model.train()
    past = None
    for step, (first, inputs, targets, beside) in enumerate(segments(ids, near, ROWS, steps)):
        loss, past = nats_of(model, inputs, targets, beside, None if first else past)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"  step {step}: {loss.item() / math.log(2):.3f} bits", flush=True)


def bits(model: CausalLM, ids: Tensor, near: Tensor | None = None) -> float:
    """Return bits per character of a text, read in eight strips with the memory carried on."""
    nats, past = [], None
    with evaluating(model):
        for _, inputs, targets, beside in segments(ids, near, 8):
            loss, past = nats_of(model, inputs, targets, beside, past or StateCache())
            nats.append(loss.item())
    return sum(nats) / len(nats) / math.log(2)


def spalm_from(model: CausalLM) -> Spalm:
    """Return a SPALM with the weights of a model, whose gate is new."""
    made = Spalm(model.config)
    made.load_state_dict(model.state_dict() | {"gate_proj.weight": made.gate_proj.weight.detach()})
    return made


class Seed:
    """The arms of a seed. Each is a function that returns a row's facts."""

    def __init__(self, seed: int, folder: Path, rows: list[dict[str, Any]]) -> None:
        self.seed, self.folder, self.rows = seed, folder / str(seed), rows
        self.text = load_text(None)
        self.ids, self.test = self.text.train.long(), self.text.test[:TESTED].long()

    def row(self, arm: str) -> dict[str, Any]:
        """Return the finished row of an arm."""
        return next(row for row in self.rows if (row["seed"], row["arm"]) == (self.seed, arm))

    def model(self, name: str) -> CausalLM:
        """Return a trained model."""
        return CausalLM.from_pretrained(self.folder / name)

    def kept(self) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        config = TransformerConfig(
            vocab_size=len(self.text.characters),
            width=64,
            depth=3,
            heads=4,
            position="xl",
            memory=f"recurrent(length={MEMORY})",
            context_length=LENGTH,
            tie_word_embeddings=False,
            initializer_range=0.1,
        )
        return self.trained("kept", CausalLM(config), self.ids, BASE_STEPS, BASE_RATE)

    def spalm(self) -> dict[str, Any]:
        kept, clock = self.model("kept"), Clock()
        retriever = self.retriever("kept", kept)
        made, new = clock.lap(), self.ids[-NEW:]
        near = neighbours_of(kept, retriever, new, READING, K)
        looked_up = clock.lap()
        near_test = neighbours_of(kept, retriever, self.test, READING, K)
        model = spalm_from(kept)
        before = bits(model, self.test, near_test)
        clock.lap()
        train(model, new, near, STEPS, RATE)
        facts = {"steps": STEPS, "datastore": made, "look_ups": looked_up, "training": clock.lap(), "before": before}
        facts |= {"seconds": made + looked_up + facts["training"], "test": bits(model, self.test, near_test)}
        return facts | {"gate": gate_of(model, self.test)}

    def xl(self) -> dict[str, Any]:
        return self.trained("xl", self.model("kept"), self.ids[-NEW:], STEPS, RATE)

    def longer(self) -> dict[str, Any]:
        steps = round(self.row("spalm")["seconds"] / self.row("xl")["seconds"] * STEPS)
        return self.trained("longer", self.model("kept"), self.ids, steps, RATE)

    def kept_knn(self) -> dict[str, Any]:
        return self.with_neighbours("kept")

    def longer_knn(self) -> dict[str, Any]:
        return self.with_neighbours("longer")

    def trained(self, name: str, model: CausalLM, ids: Tensor, steps: int, rate: float) -> dict[str, Any]:
        """Train a model on a text, and save it."""
        clock = Clock()
        train(model, ids, None, steps, rate)
        seconds = clock.lap()
        model.save_pretrained(self.folder / name)
        return {"steps": steps, "seconds": seconds, "test": bits(model, self.test)}

    def retriever(self, name: str, model: CausalLM) -> Retriever:
        """Return what finds neighbours in the datastore that a model makes."""
        folder = self.folder / f"{name}-datastore"
        build_datastore(model, self.ids[:STORED], folder, READING)
        return Retriever.open([folder], model, INDEX)

    def with_neighbours(self, name: str) -> dict[str, Any]:
        """Return the bits of a kNN-LM with the λ, k and T that are best on a part of the validation text."""
        model = self.model(name)
        retriever = self.retriever(name, model)
        options = tune(model, retriever, self.text.validation[:TUNED_ON].long(), READING).options
        chosen = {"lambda": options.weight, "k": options.k, "T": options.temperature}
        return chosen | {"test": bits(KnnLM(model, retriever, options), self.test)}


@torch.no_grad()
def gate_of(model: Spalm, ids: Tensor) -> float:
    """Return the mean share g of the hidden state over the first segments of a text."""
    hidden = model.model(ids[: 16 * LENGTH].view(16, LENGTH)).last_hidden_state
    return float(model.gate_proj(hidden).sigmoid().mean())


def main(folder: str, *seeds: str) -> None:
    """Run the arms that are not there yet, and write the rows."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = Path(folder) / "results.json"
    rows: list[dict[str, Any]] = json.loads(results.read_text()) if results.exists() else []
    for number in map(int, seeds or ("0",)):
        seed = Seed(number, Path(folder), rows)
        for arm in (seed.kept, seed.spalm, seed.xl, seed.longer, seed.kept_knn, seed.longer_knn):
            name = arm.__name__
            if any((row["seed"], row["arm"]) == (number, name) for row in rows):
                continue
            rows.append({"seed": number, "arm": name} | arm())
            print(rows[-1], flush=True)
            results.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
