"""A sequence copied by Reformer's attention: `0 w 0 w`, the second w predicted from the first.

    python examples/reformer_copy.py --save reformer_copy.png

After section 5 of Kitaev et al. 2020, arXiv:2001.04451, smaller: one layer, w of 31 random symbols. The copy needs a
look at one exact place, far back. Models are trained with full attention and with one and four rounds of hashing, and
each is then read with other numbers of rounds, for the weights do not depend on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from formers import CausalLM, TransformerConfig
from formers.mixers import Lsh
from formers.positions import Learned

SYMBOLS, HALF = 32, 32  # w has HALF − 1 symbols of 1 … SYMBOLS − 1
CHUNK = 8
TRAINED = {"full": None, "1 round": 1, "4 rounds": 4}
READ = {"full": None, "1 round": 1, "2 rounds": 2, "4 rounds": 4, "8 rounds": 8}


def mixer(rounds: int | None, half: int) -> Lsh:
    """Return LSH attention, or with `rounds=None` full attention with the same weights: one bucket and one chunk."""
    return Lsh(rounds=1, chunk=2 * half, buckets=1) if rounds is None else Lsh(rounds=rounds, chunk=CHUNK)


def model(rounds: int | None, half: int) -> CausalLM:
    return CausalLM(
        TransformerConfig(
            vocab_size=SYMBOLS,
            width=128,
            depth=1,
            heads=4,
            mixer=mixer(rounds, half),
            position=Learned(),
            context_length=2 * half,
        )
    )


def batch(rows: int, half: int, generator: torch.Generator) -> Tensor:
    """Return sequences `0 w 0 w`, (rows, 2·half)."""
    w = torch.randint(1, SYMBOLS, (rows, half - 1), generator=generator)
    one = torch.cat([w.new_zeros(rows, 1), w], 1)
    return torch.cat([one, one], 1)


def train(rounds: int | None, *, half: int = HALF, steps: int = 250, rows: int = 32) -> CausalLM:
    """Return a model trained on the second half only."""
    torch.manual_seed(0)
    copier, draws = model(rounds, half).train(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(copier.parameters(), lr=3e-3, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        ids = batch(rows, half, draws)
        labels = ids.masked_fill(torch.arange(2 * half) <= half, -100)
        copier(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
    return copier


@torch.no_grad()
def accuracy(trained: CausalLM, rounds: int | None, half: int = HALF, rows: int = 128) -> float:
    """Return the share of the second w that is predicted right, read with so many rounds."""
    torch.manual_seed(2)  # of the hashes
    reader = model(rounds, half).eval()
    weights = {name: t for name, t in trained.state_dict().items() if "rotations" not in name}
    reader.load_state_dict(weights, strict=False)
    ids = batch(rows, half, torch.Generator().manual_seed(3))
    guessed = reader(input_ids=ids).logits[:, half:-1].argmax(2)
    return float((guessed == ids[:, half + 1 :]).float().mean())


def study(half: int = HALF, steps: int = 250) -> dict[str, dict[str, float]]:
    """Return the accuracies: trained with → read with → accuracy."""
    found = {}
    for name, rounds in TRAINED.items():
        trained = train(rounds, half=half, steps=steps)
        found[name] = {other: accuracy(trained, read, half) for other, read in READ.items()}
        print(f"trained with {name:9}" + "".join(f"{100 * share:9.1f} %" for share in found[name].values()), flush=True)
    return found


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    shares = [[100 * share for share in row.values()] for row in found.values()]
    axes.imshow(shares, vmin=0, vmax=100, cmap="Blues", aspect="auto")
    for y, row in enumerate(shares):
        for x, share in enumerate(row):
            axes.text(x, y, f"{share:.1f} %", ha="center", va="center", color="white" if share > 60 else "black")
    axes.set_xticks(range(len(READ)), list(READ))
    axes.set_yticks(range(len(found)), list(found))
    axes.set(xlabel="read with", ylabel="trained with", title="share of the copy that is right")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path, help="where to save the picture (PNG)")
    arguments = parser.parse_args()
    print(f"{'read with':22}" + "".join(f"{name:>11}" for name in READ))
    found = study()
    if arguments.save:
        draw(found, arguments.save)


if __name__ == "__main__":
    main()
