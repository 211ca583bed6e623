"""Train the models of the study of early exits: 8 layers on Shakespeare's plays, a loss at every exit.

    python docs/studies/exits_train.py FOLDER        # a quarter of an hour on one core

3.6 million parameters see two million characters; a classifier learns beside them, whose loss does not reach them. Then
each predictor of depth learns on the finished layers, which stay as they are, so that all rules are of one model. The
folder holds a model for `CausalLM.from_pretrained` and `formers calibrate` under the name of each rule that learns.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from formers import CausalLM, TransformerConfig
from formers.computation import Classifier, EarlyExit, ExitRule, GeometricDepth, MultinomialDepth, SequenceDepth
from formers.models import convert_weights
from formers.tasks.shakespeare import Shakespeare

STEPS, ROWS, LENGTH, RATE, WARM_UP = 1000, 16, 128, 2e-3, 100
PREDICTORS: tuple[ExitRule, ...] = (MultinomialDepth(), SequenceDepth(), GeometricDepth())
PREDICTOR_STEPS = 150


def main(folder: Path) -> None:
    """Train the model with its classifier, then a predictor of each kind on it, and save them."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = Shakespeare(length=LENGTH)
    text = task.text.train.long()
    config = TransformerConfig(
        vocab_size=len(task.text.characters),
        width=192,
        depth=8,
        heads=4,
        computation=EarlyExit(rule=Classifier()),
        context_length=512,
        tie_word_embeddings=False,
        initializer_range=0.08,
    )
    model = CausalLM(config)
    train(model, list(model.parameters()), text, STEPS)
    for rule in PREDICTORS:
        changed = with_rule(model, rule)
        learnt = changed.model.computation.rule
        assert isinstance(learnt, nn.Module)
        train(changed.requires_grad_(False), list(learnt.requires_grad_(True).parameters()), text, PREDICTOR_STEPS)
        save(changed, task, folder / rule.name())
    save(model, task, folder / Classifier().name())


def train(model: CausalLM, weights: list[nn.Parameter], text: Tensor, steps: int) -> None:
    """Train some weights with AdamW and a cosine schedule, and print the loss now and then."""
    model.train()
    optimizer = torch.optim.AdamW(weights, lr=RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_share_of_rate, steps=steps))
    for step in range(steps):
        starts = torch.randint(len(text) - LENGTH, (ROWS,)).tolist()
        ids = torch.stack([text[start : start + LENGTH] for start in starts])
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}, {time.process_time():.0f} s of CPU", flush=True)


def with_rule(model: CausalLM, rule: ExitRule) -> CausalLM:
    """Return the model with another rule, whose own weights, if it has any, are new."""
    part = model.config.computation.swap(rule=rule)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the weights of one rule are dropped, and another's new
        changed = convert_weights(model, model.config.swap(computation=part)).model
    assert isinstance(changed, CausalLM)
    return changed


def save(model: CausalLM, task: Shakespeare, folder: Path) -> None:
    """Save a model, with its alphabet."""
    model.save_pretrained(folder)
    task.save(folder)
    print(f"saved {folder}", flush=True)


def _share_of_rate(step: int, steps: int) -> float:
    """Return the share of the learning rate at a step: up within `WARM_UP` steps, then down along a cosine."""
    return min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-3


if __name__ == "__main__":
    main(Path(sys.argv[1]))
