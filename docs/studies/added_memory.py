"""The study of a memory added to a trained model, beside a plain model that is larger.

    python docs/studies/added_memory.py python FOLDER [SEED …]      # seven minutes of one core a seed
    python docs/studies/added_memory.py names FOLDER [SEED …]       # two minutes of one core a seed

Documents are the files of Python's standard library (`added_memory_python.py`), or made so that something has to be
looked up in them (`added_memory_names.py`). A small model learns to read them through its window, segment by segment.
Then it goes on, as it is and with a memory of what has left the window (`convert_weights`), beside a plain model of
three times the parameters. Windows and memories begin anew with each document.

The folder holds the small model and `results.json`. A run that was stopped goes on with the arms that are missing.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from added_memory_documents import WINDOW, Corpus, Document, Segment, side_by_side
from added_memory_names import Names
from added_memory_python import PythonFiles
from torch import Tensor
from torch.nn.functional import cross_entropy

from formers.models import CausalLM, TransformerConfig, convert_weights
from formers.models.cache import StateCache
from formers.part import evaluating

CORPORA: dict[str, Callable[[], Corpus]] = {"python": PythonFiles, "names": Names}
PLAIN = "memorizing(window={}, size=1, k=1, gate=1e-6)"
"""A window, and next to nothing beyond it."""


def nats_of(model: CausalLM, documents: Iterator[Document], rows: int) -> Iterator[tuple[Tensor, Segment]]:
    """Yield −log p of each next token, (rows, WINDOW), segment by segment, with the memory of each document carried on.

    Segments in which nothing is measured are read, too.
    """
    past = StateCache()
    for segment in side_by_side(documents, rows):
        past.reset_rows(segment.begins)
        out = model(segment.inputs, past_key_values=past, use_cache=True)
        nats = cross_entropy(out.logits.transpose(1, 2), segment.targets, reduction="none")
        if bool((segment.kinds >= 0).any()):
            yield nats, segment


def train(model: CausalLM, corpus: Corpus, seed: int, steps: int, rate: float) -> None:
    """Train on the segments of documents, a step each, with AdamW; the rate warms up, and ends at zero."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    model.train()
    read = nats_of(model, corpus.training(seed), corpus.plan.rows)
    for step, (nats, segment) in zip(range(1, steps + 1), read, strict=False):
        loss = nats[segment.kinds >= 0].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"  step {step}: {loss.item():.3f} nats a token, {time.process_time():.0f} s", flush=True)


def measured(model: CausalLM, corpus: Corpus) -> dict[str, float]:
    """Return the bits a unit of each kind of token of the documents that are measured, and of all together."""
    nats, units = torch.zeros(len(corpus.kinds)), torch.zeros(len(corpus.kinds))
    with evaluating(model):
        for found, segment in nats_of(model, corpus.test(), corpus.plan.rows):
            for kind in range(len(corpus.kinds)):
                nats[kind] += found[segment.kinds == kind].sum()
                units[kind] += segment.units[segment.kinds == kind].sum()
    bits = (nats / units / math.log(2)).tolist()
    return dict(zip(corpus.kinds, bits, strict=True)) | {"all": float(nats.sum() / units.sum() / math.log(2))}


def model_of(corpus: Corpus, width: int, depth: int) -> CausalLM:
    """Return a new plain model."""
    config = TransformerConfig(
        vocab_size=corpus.vocab_size,
        width=width,
        depth=depth,
        heads=4,
        position="t5",
        memory=PLAIN.format(WINDOW),
        context_length=WINDOW,
        initializer_range=1 / math.sqrt(width),
        tie_word_embeddings=True,
    )
    return CausalLM(config)


class Seed:
    """The arms of a seed. Each is a function that returns a row's facts."""

    def __init__(self, corpus: Corpus, seed: int, folder: Path) -> None:
        self.corpus, self.plan, self.seed, self.folder = corpus, corpus.plan, seed, folder / f"small-{seed}"

    def small(self) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        model = model_of(self.corpus, *self.plan.small)
        facts = self.trained(model, 2 * self.seed, self.plan.steps[0], self.plan.rates[0])
        model.save_pretrained(self.folder)
        return facts

    def narrow(self) -> dict[str, Any]:
        """Return what the small model makes of a quarter of its window: by so much less it is used."""
        small = CausalLM.from_pretrained(self.folder)
        made = small.config.swap(memory=PLAIN.format(WINDOW // 4))
        return measured(convert_weights(small, made).model, self.corpus)

    def small_on(self) -> dict[str, Any]:
        return self.trained_on(CausalLM.from_pretrained(self.folder))

    def added(self) -> dict[str, Any]:
        small = CausalLM.from_pretrained(self.folder)
        made = small.config.swap(memory=self.plan.memory)
        model = convert_weights(
            small, made, fresh=["gate_h", "log_scale_h"]
        ).model  # those that nothing was looked up with
        before = measured(model, self.corpus)
        return {"before": before} | self.trained_on(model)

    def large(self) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        model = model_of(self.corpus, *self.plan.large)
        return self.trained(model, 2 * self.seed, self.plan.steps[2], self.plan.rates[1])

    def trained_on(self, model: CausalLM) -> dict[str, Any]:
        """Train a model on that has the weights of the small one."""
        return self.trained(model, 2 * self.seed + 1, self.plan.steps[1], self.plan.rates[0])

    def trained(self, model: CausalLM, seed: int, steps: int, rate: float) -> dict[str, Any]:
        """Train and measure a model."""
        began = time.process_time()
        train(model, self.corpus, seed, steps, rate)
        facts = {"parameters": model.num_parameters(), "steps": steps, "seconds": time.process_time() - began}
        gates = [g.sigmoid().tolist() for name, g in model.named_parameters() if name.endswith("gate_h")]
        return facts | measured(model, self.corpus) | {"gates": gates}


def main(name: str, folder: str, *seeds: str) -> None:
    """Run the arms that are not there yet, and write the rows."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the conversion names what is new
    corpus, results = CORPORA[name](), Path(folder) / "results.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = json.loads(results.read_text())["rows"] if results.exists() else []
    for number in map(int, seeds or ("0",)):
        seed = Seed(corpus, number, Path(folder))
        for arm in (seed.small, seed.narrow, seed.small_on, seed.added, seed.large):
            told = arm.__name__
            if any((row["seed"], row["arm"]) == (number, told) for row in rows):
                continue
            rows.append({"seed": number, "arm": told} | arm())
            print(rows[-1], flush=True)
            results.write_text(json.dumps({"corpus": corpus.facts, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
