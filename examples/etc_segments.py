"""ETC's labels and hard masks on input with a structure: one global token a paragraph says what is in its own.

Eight paragraphs of eight tokens stand behind eight global tokens, which are all the same. Each paragraph holds one of
eight letters among digits, and its global token has to name it. Nothing else tells paragraphs apart: there are no
positions, so that a global token knows its paragraph only by the label of a pair, `segment=8`, or because it sees no
other, `hard=True`.

    python examples/etc_segments.py
"""

from __future__ import annotations

import statistics

import torch
from torch import Tensor

from formers.mixers import Etc
from formers.models import TokenClassifier, TransformerConfig

PARAGRAPHS, LENGTH, LETTERS, DIGITS = 8, 8, 8, 10
GLOBAL = LETTERS + DIGITS
"""The token of every paragraph's global place; letters are 0 … 7, digits behind them."""
PARTS = {
    "no labels of paragraphs": Etc(tokens=PARAGRAPHS, radius=4),
    "segment=8": Etc(tokens=PARAGRAPHS, radius=4, segment=LENGTH),
    "segment=8, hard": Etc(tokens=PARAGRAPHS, radius=4, segment=LENGTH, hard=True),
}


def batch(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return inputs (B, L) and labels, which only the global tokens have."""
    text = torch.randint(LETTERS, LETTERS + DIGITS, (rows, PARAGRAPHS, LENGTH), generator=generator)
    letters = torch.randint(LETTERS, (rows, PARAGRAPHS), generator=generator)
    places = torch.randint(LENGTH, (rows, PARAGRAPHS, 1), generator=generator)
    text.scatter_(2, places, letters.unsqueeze(2))
    ids = torch.cat([torch.full((rows, PARAGRAPHS), GLOBAL), text.flatten(1)], 1)
    labels = torch.full_like(ids, -100)
    labels[:, :PARAGRAPHS] = letters
    return ids, labels


def train(part: Etc, seed: int, steps: int) -> float:
    """Return the share of paragraphs that are named rightly in 200 texts, after training."""
    torch.manual_seed(seed)
    config = TransformerConfig(
        vocab_size=GLOBAL + 1,
        width=32,
        depth=2,
        heads=4,
        mixer=part,
        position="none",
        num_labels=LETTERS,
        context_length=PARAGRAPHS * (LENGTH + 1),
        initializer_range=0.15,
    )
    model, generator = TokenClassifier(config).train(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        ids, labels = batch(16, generator)
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ids, labels = batch(200, torch.Generator().manual_seed(10_000))
    with torch.no_grad():
        named = model.eval()(ids).logits[:, :PARAGRAPHS].argmax(-1)
    return float((named == labels[:, :PARAGRAPHS]).double().mean())


def run(steps: int = 100, seeds: int = 1) -> dict[str, list[float]]:
    """Train every part with each seed; print and return the shares of paragraphs that are named rightly."""
    found: dict[str, list[float]] = {}
    for name, part in PARTS.items():
        found[name] = [train(part, seed, steps) for seed in range(seeds)]
        shares = ", ".join(f"{share:.3f}" for share in found[name])
        print(f"{name}: {statistics.fmean(found[name]):.3f} ({shares})", flush=True)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)  # in a model this small threads only wait for each other
    run()
