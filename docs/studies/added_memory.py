"""The study of a memory added to a trained model, beside a plain model that is larger, on documents that define names.

    python docs/studies/added_memory.py FOLDER [SEED …]      # four minutes of one core a seed

A document of 512 tokens gives up to 32 names one of 16 symbols each, anew in each document. A name is one token, and
the next one says which symbol it has (a token for each of the 512 pairs), which is what is predicted. First each name
comes once, then names come at random. With 32 names, those that are measured, two thirds of the uses have another one
of the same name within the 64 tokens that models see; the rest have it farther back.

A small model learns to read such documents through its window. Then it goes on, as it is and with a memory of what has
left the window (`convert_weights`), beside a plain model of three times the parameters that is trained until it reads
what is in its window.

The folder holds the small model and `results.json`. A run that was stopped goes on with the arms that are missing.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from formers.models import CausalLM, TransformerConfig, convert_weights
from formers.part import evaluating

WINDOW, ROWS, RATE = 64, 16, 3e-3
STEPS, MORE_STEPS, STEPS_OF_LARGE = 800, 700, 400
SMALL, LARGE = (64, 1), (128, 1)
"""Width and depth."""
PLAIN = f"memorizing(window={WINDOW}, size=1, k=1, gate=1e-6)"
"""A window, and next to nothing beyond it."""


class Documents(NamedTuple):
    """Documents and what is measured in them.

    Attributes:
        ids: tokens, (count, N + 1); each but the first is predicted.
        kinds: for each token, which of the kinds it is, or −1 where it is not measured, (count, N + 1).
    """

    ids: Tensor
    kinds: Tensor


class Names:
    """Documents whose names mean something else in each; symbols are measured by how far back their name was last."""

    kinds = ("near", "far")
    names, symbols, statements = 32, 16, 256
    vocab_size, tokens = 1 + names + names * symbols, 2 * statements

    def training(self, count: int, seed: int) -> Documents:
        """Return documents of 2 to 32 names that belong to a seed."""
        draw = torch.Generator().manual_seed(seed)
        return self._documents(torch.randint(2, self.names + 1, (count, 1), generator=draw), draw)

    def test(self) -> Documents:
        return self._documents(torch.full((64, 1), self.names), torch.Generator().manual_seed(10**12))

    def _documents(self, names_c1: Tensor, draw: torch.Generator) -> Documents:
        """Return documents with so many names. Token 0 begins each."""
        count, places = len(names_c1), torch.arange(self.statements)
        meaning = torch.randint(self.symbols, (count, self.names), generator=draw)
        order = torch.rand(count, self.names, generator=draw).argsort(1)
        used = (torch.rand(count, self.statements, generator=draw) * names_c1).long()
        names = order.gather(1, torch.where(places < names_c1, places.clamp(max=self.names - 1), used))
        said = 1 + self.names + names * self.symbols + meaning.gather(1, names)
        tokens = torch.stack([1 + names, said], 2).flatten(1)
        kinds = torch.stack([torch.full_like(names, -1), self._kinds_of(names)], 2).flatten(1)
        begin = torch.zeros(count, 1, dtype=torch.long)
        return Documents(torch.cat([begin, tokens], 1), torch.cat([begin - 1, kinds], 1))

    def _kinds_of(self, names: Tensor) -> Tensor:
        """Return 0 for a use whose name's last symbol is in the window, 1 for another one, −1 for a definition."""
        kinds, last = torch.full_like(names, -1), torch.full((len(names), self.names), -1)
        for place in range(names.shape[1]):
            name = names[:, place : place + 1]
            before = last.gather(1, name)
            is_far = (2 * (place - before) >= WINDOW).long()
            kinds[:, place : place + 1] = torch.where(before < 0, -1, is_far)
            last.scatter_(1, name, place)
        return kinds


def nats_of(model: CausalLM, documents: Documents) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield −log p of each next token and its kind, (rows, WINDOW), segment by segment, with the memory carried on."""
    past = None
    for start in range(0, documents.ids.shape[1] - 1, WINDOW):
        part = documents.ids[:, start : start + WINDOW + 1]
        out = model(part[:, :-1], past_key_values=past, use_cache=True)
        past = out.past_key_values
        nats = cross_entropy(out.logits.transpose(1, 2), part[:, 1:], reduction="none")
        yield nats, documents.kinds[:, start + 1 : start + WINDOW + 1]


def bits_of(corpus: Names, nats: Tensor, kinds: Tensor) -> dict[str, float]:
    """Return the mean bits of each kind of token."""
    return {name: float(nats[kinds == kind].mean() / math.log(2)) for kind, name in enumerate(corpus.kinds)}


def train(model: CausalLM, corpus: Names, seed: int, steps: int) -> None:
    """Train on the segments of new documents, a step each, with AdamW; the rate warms up, and ends at zero."""
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    model.train()
    done = 0
    while done < steps:
        for nats, kinds in nats_of(model, corpus.training(ROWS, 1_000_000 * seed + done)):
            if not bool((kinds >= 0).any()):
                continue
            optimizer.zero_grad()
            nats[kinds >= 0].mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            if done % 100 == 0:
                print(f"  step {done}:", bits_of(corpus, nats.detach(), kinds), flush=True)
            if done == steps:
                break


def measured(model: CausalLM, corpus: Names) -> dict[str, float]:
    """Return the bits of each kind of token of the documents that are measured, and of all kinds together."""
    with evaluating(model):
        nats, kinds = (torch.cat(parts, 1) for parts in zip(*nats_of(model, corpus.test()), strict=True))
    return bits_of(corpus, nats, kinds) | {"all": float(nats[kinds >= 0].mean() / math.log(2))}


def model_of(corpus: Names, width: int, depth: int) -> CausalLM:
    """Return a new plain model."""
    config = TransformerConfig(
        vocab_size=corpus.vocab_size,
        width=width,
        depth=depth,
        heads=4,
        position="t5",
        memory=PLAIN,
        context_length=WINDOW,
        initializer_range=1 / math.sqrt(width),
        tie_word_embeddings=True,
    )
    return CausalLM(config)


class Seed:
    """The arms of a seed. Each is a function that returns a row's facts."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.corpus, self.seed, self.folder = Names(), seed, folder / f"small-{seed}"

    def small(self) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        model = model_of(self.corpus, *SMALL)
        facts = self.trained(model, 2 * self.seed, STEPS)
        model.save_pretrained(self.folder)
        return facts

    def small_on(self) -> dict[str, Any]:
        return self.trained(CausalLM.from_pretrained(self.folder), 2 * self.seed + 1, MORE_STEPS)

    def added(self) -> dict[str, Any]:
        small = CausalLM.from_pretrained(self.folder)
        memory = f"memorizing(window={WINDOW}, size={self.corpus.tokens}, k=32, layer={SMALL[1] - 1})"
        plain = convert_weights(small, small.config.swap(memory="none")).model  # the gates of the window are dropped
        model = convert_weights(plain, small.config.swap(memory=memory)).model
        before = measured(model, self.corpus)
        return {"before": before} | self.trained(model, 2 * self.seed + 1, MORE_STEPS)

    def large(self) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        return self.trained(model_of(self.corpus, *LARGE), 2 * self.seed, STEPS_OF_LARGE)

    def trained(self, model: CausalLM, seed: int, steps: int) -> dict[str, Any]:
        """Train and measure a model."""
        began = time.process_time()
        train(model, self.corpus, seed, steps)
        facts = {"parameters": model.num_parameters(), "steps": steps, "seconds": time.process_time() - began}
        gates = [g.sigmoid().tolist() for name, g in model.named_parameters() if name.endswith("gate_h")]
        return facts | measured(model, self.corpus) | {"gates": gates}


def main(folder: str, *seeds: str) -> None:
    """Run the arms that are not there yet, and write the rows."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the conversion names what is new
    results = Path(folder) / "results.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = json.loads(results.read_text()) if results.exists() else []
    for number in map(int, seeds or ("0",)):
        seed = Seed(number, Path(folder))
        for arm in (seed.small, seed.small_on, seed.added, seed.large):
            name = arm.__name__
            if any((row["seed"], row["arm"]) == (number, name) for row in rows):
                continue
            rows.append({"seed": number, "arm": name} | arm())
            print(rows[-1], flush=True)
            results.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
