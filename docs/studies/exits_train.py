"""Train the model of the study of early exits: 8 layers on Shakespeare's plays, a loss at every exit.

    python docs/studies/exits_train.py FOLDER        # five minutes on one core

1.6 million parameters see 1.4 million characters; the folder holds a model for `CausalLM.from_pretrained` and
`formers calibrate`.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import torch

from formers import CausalLM, TransformerConfig
from formers.computation import EarlyExit
from formers.tasks.shakespeare import Shakespeare

STEPS, ROWS, LENGTH, RATE, WARM_UP = 700, 16, 128, 3e-3, 50


def main(folder: Path) -> None:
    """Train with AdamW and a cosine schedule, print the loss now and then, and save."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = Shakespeare(length=LENGTH)
    text = task.text.train.long()
    config = TransformerConfig(
        vocab_size=len(task.text.characters),
        width=128,
        depth=8,
        heads=4,
        computation=EarlyExit(),
        context_length=512,
        tie_word_embeddings=False,
        initializer_range=0.08,
    )
    model = CausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _share_of_rate)
    for step in range(STEPS):
        starts = torch.randint(len(text) - LENGTH, (ROWS,)).tolist()
        ids = torch.stack([text[start : start + LENGTH] for start in starts])
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.3f}, {time.process_time():.0f} s of CPU", flush=True)
    model.save_pretrained(folder)
    task.save(folder)


def _share_of_rate(step: int) -> float:
    """Return the share of the learning rate at a step: up within `WARM_UP` steps, then down along a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS)) + 1e-3


if __name__ == "__main__":
    main(Path(sys.argv[1]))
