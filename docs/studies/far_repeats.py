"""A memory added to a trained model where something far back is worth remembering: see studies.md.

    python docs/studies/far_repeats.py RESULTS.json [SEED …]

The text is passages of 32 random letters. Half of them are new; the others have stood before, half of these within the
last 3 passages, near enough for a window of 128, and half of them 8 to 60 passages back, 250 to 2,000 letters away.
"""

from __future__ import annotations

import json
import math
import random
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from formers.models import CausalLM, TransformerConfig, convert_weights

LETTERS, PASSAGE, NEAR, FAR = 64, 32, (1, 3), (8, 60)
ROWS, LENGTH, RATE, TRAINED, TUNED = 16, 128, 3e-3, 900, 150
TEST_LENGTH = 4096
PLAIN = "memorizing(window=128, size=1, k=1, gate=1e-6)"
ARMS = {
    "window of 128": PLAIN,
    "memorizing": "memorizing(window=128, size=2048, k=16)",
    "recurrent": "recurrent(length=256)",
}
SMALL = {"width": 64, "depth": 3, "heads": 4}
LARGE = {"width": 128, "depth": 4, "heads": 4}


def text(seed: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """Rows of letters, and of each letter's kind: 0 in a new passage, 1 in one that was near, 2 in one that was far."""
    draw, letters, kinds = random.Random(seed), [], []
    for _ in range(rows):
        row: list[list[int]] = []
        kind: list[int] = []
        while len(row) * PASSAGE < length:
            which = draw.choices((0, 1, 2), (2, 1, 1))[0] if len(row) > FAR[1] else draw.choice((0, 1)) if row else 0
            back = draw.randint(*(NEAR if which == 1 else FAR)) if which else 0
            row.append(row[-min(back, len(row))] if which else draw.choices(range(LETTERS), k=PASSAGE))
            kind += [which] * PASSAGE
        letters.append([letter for passage in row for letter in passage][:length])
        kinds.append(kind[:length])
    return torch.tensor(letters), torch.tensor(kinds)


def config(memory: str, size: dict[str, int]) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=LETTERS, context_length=2 * LENGTH, position="xl", memory=memory, initializer_range=0.1, **size
    )


def losses(model: CausalLM, ids: Tensor, start: int, past: object) -> tuple[Tensor, object]:
    """−log p of the tokens after each of a segment, (rows, LENGTH), and the cache behind it."""
    out = model(ids[:, start : start + LENGTH], past_key_values=past, use_cache=True)
    targets = ids[:, start + 1 : start + 1 + LENGTH]
    return cross_entropy(out.logits.mT, targets, reduction="none"), out.past_key_values


def train(model: CausalLM, seed: int, steps: int, rate: float) -> None:
    """Segments of each row, one after the other, of texts that are never read again."""
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    model.train()
    each = TEST_LENGTH // LENGTH
    past, ids = None, torch.empty(0)
    for step in range(steps):
        if step % each == 0:
            past, ids = None, text(1000 * seed + step // each, ROWS, TEST_LENGTH + 1)[0]
        loss, past = losses(model, ids, step % each * LENGTH, past)
        optimiser.zero_grad()
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            print(f"  step {step}: {loss.mean().item() / math.log(2):.3f} bits", flush=True)


@torch.no_grad()
def bits(model: CausalLM) -> dict[str, float]:
    """Bits per letter of the test text behind its first half, where all kinds occur; in all, and for each kind."""
    model.eval()
    ids, kinds = text(-1, 8, TEST_LENGTH + 1)
    past, nats = None, []
    for start in range(0, TEST_LENGTH, LENGTH):
        loss, past = losses(model, ids, start, past)
        nats.append(loss)
    late = slice(TEST_LENGTH // 2, None)
    found, kind = torch.cat(nats, 1)[:, late] / math.log(2), kinds[:, 1:][:, late]
    named = {name: found[kind == i].mean().item() for i, name in enumerate(("new", "near", "far"))}
    return {"all": found.mean().item(), **named}


def main(results: str, *seeds: str) -> None:
    warnings.simplefilter("ignore")  # the conversion names what is new
    rows = []

    def keep(name: str, seed: int, model: CausalLM, before: dict[str, float] | None) -> None:
        gates = [g.sigmoid().tolist() for n, g in model.named_parameters() if n.endswith("gate_h")]
        size = sum(p.numel() for p in model.parameters())
        rows.append(
            {"arm": name, "seed": seed, "parameters": size, "before": before, "test": bits(model), "gates": gates}
        )
        print(rows[-1], flush=True)
        Path(results).write_text(json.dumps(rows, indent=1) + "\n")

    for seed in map(int, seeds or ("0",)):
        torch.manual_seed(seed)
        trained = CausalLM(config(PLAIN, SMALL))
        train(trained, seed, TRAINED, RATE)
        keep("trained", seed, trained, None)
        for name, memory in ARMS.items():
            model = convert_weights(trained, trained.config.swap(memory=memory)).model
            before = bits(model)
            train(model, seed + 500, TUNED, RATE / 3)
            keep(name, seed, model, before)
        torch.manual_seed(seed)
        large = CausalLM(config(PLAIN, LARGE))
        train(large, seed, TRAINED + TUNED, RATE)
        keep("larger, window of 128", seed, large, None)


if __name__ == "__main__":
    main(*sys.argv[1:])
