"""A trained model with a memory that it looks things up in, fine-tuned, beside the same model without: see studies.md.

    python docs/studies/memorizing.py MODEL RESULTS.json [SEED …]

MODEL is the folder that `formers train` has kept. Every arm starts from its weights and reads the same segments.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from formers.models import CausalLM, convert_weights
from formers.tasks.text import load_text

ROWS, LENGTH, STEPS, RATE = 8, 128, 300, 1e-3
ARMS = {
    "a window of 128": "memorizing(window=128, size=1, k=1, gate=1e-6)",
    "recurrent": "recurrent(length=128)",
    "memorizing": "memorizing(window=128, size=4096, k=32)",
}


def strips(ids: Tensor, offset: int = 0) -> Tensor:
    """The text as `ROWS` rows that are read side by side, (ROWS, tokens)."""
    ids = ids[offset:]
    return ids[: len(ids) // ROWS * ROWS].view(ROWS, -1)


def segment_loss(model: CausalLM, text: Tensor, start: int, past: object) -> tuple[Tensor, object]:
    """The mean −log p of the tokens after each of a segment, and the cache behind it."""
    out = model(text[:, start : start + LENGTH], past_key_values=past, use_cache=True)
    targets = text[:, start + 1 : start + 1 + LENGTH]
    return cross_entropy(out.logits.flatten(0, 1), targets.flatten()), out.past_key_values


def train(model: CausalLM, ids: Tensor, seed: int) -> None:
    """STEPS segments of each row, one after the other; a row's text begins anew when it ends."""
    text = strips(ids, 1000 * seed)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS, pct_start=0.1)
    model.train()
    start, past = 0, None
    for step in range(STEPS):
        if start + LENGTH + 1 > text.shape[1]:
            start, past = 0, None
        loss, past = segment_loss(model, text, start, past)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        start += LENGTH
        if step % 50 == 0:
            print(f"  step {step}: {loss.item() / math.log(2):.3f} bits", flush=True)


@torch.no_grad()
def bits(model: CausalLM, ids: Tensor) -> float:
    """Bits per character of a text, read in `ROWS` strips with the memory carried on."""
    model.eval()
    text, past, nats = strips(ids), None, []
    for start in range(0, text.shape[1] - LENGTH - 1, LENGTH):
        loss, past = segment_loss(model, text, start, past)
        nats.append(loss.item())
    return sum(nats) / len(nats) / math.log(2)


def main(folder: str, results: str, *seeds: str) -> None:
    warnings.simplefilter("ignore")  # the conversion names what is new
    trained, text = CausalLM.from_pretrained(folder), load_text(None)
    rows = []
    for seed in map(int, seeds or ("0",)):
        for name, memory in ARMS.items():
            model = convert_weights(trained, trained.config.swap(memory=memory)).model
            row = {"arm": name, "memory": memory, "seed": seed, "before": bits(model, text.test)}
            train(model, text.train, seed)
            row |= {"validation": bits(model, text.validation), "test": bits(model, text.test)}
            row |= {"gates": [g.sigmoid().tolist() for n, g in model.named_parameters() if n.endswith("gate_h")]}
            rows.append(row)
            print(row, flush=True)
            Path(results).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
