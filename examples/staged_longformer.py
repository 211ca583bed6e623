"""Longformer's staged training: short and narrow first; then, phase by phase, twice the length and window, half the
learning rate.

Most of what a model learns it learns from near tokens, which short sequences and small windows show at a fraction of
the price (Beltagy et al. 2020, section 4.2). `formers train … --stages 3` trains any arm of a study so, resumably; here
is the idea by itself. Lower layers have half the window of higher ones, and every phase starts from the weights of the
one before: learned positions are extended by repeating them.

    python examples/staged_longformer.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from formers.mixers import Longformer
from formers.models import CausalLM, TransformerConfig, convert_weights
from formers.tasks.text import load_text


@dataclass(frozen=True)
class Phase:
    """One phase of the training: its length and window in tokens, learning rate and steps."""

    length: int
    window: int
    rate: float
    steps: int

    def next(self) -> Phase:
        """Return the phase after this one."""
        return Phase(2 * self.length, 2 * self.window, self.rate / 2, self.steps)

    def config(self, vocabulary: int) -> TransformerConfig:
        """Return four layers, the lower two with half the window."""
        return TransformerConfig(
            vocab_size=vocabulary,
            width=64,
            depth=4,
            heads=4,
            mixer=Longformer(window=(self.window // 2, self.window), tokens=()),
            position="learned()",
            context_length=self.length,
        )


def batch(text: Tensor, length: int, tokens: int, generator: torch.Generator) -> Tensor:
    """Return random pieces of the text, as many tokens together in every phase."""
    starts = torch.randint(len(text) - length, (tokens // length,), generator=generator)
    return torch.stack([text[start : start + length] for start in starts.tolist()]).long()


def train(model: CausalLM, text: Tensor, phase: Phase, tokens: int = 2048) -> list[float]:
    """Train in place; return the loss of every step, in nats a character."""
    generator = torch.Generator().manual_seed(phase.length)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=phase.rate)
    losses = []
    for _ in range(phase.steps):
        ids = batch(text, phase.length, tokens, generator)
        loss = model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def held_out_loss(model: CausalLM, text: Tensor, length: int) -> float:
    """Return the mean loss over the beginning of held-out text, in nats a character."""
    pieces = text[: 16 * length].view(-1, length).long()
    return float(model.eval()(pieces, labels=pieces).loss)


def run(first: Phase, phases: int) -> list[tuple[Phase, CausalLM, list[float]]]:
    """Return all phases, with the model after each and its losses."""
    text, phase = load_text(None), first
    torch.manual_seed(0)
    model = CausalLM(phase.config(len(text.characters)))
    done: list[tuple[Phase, CausalLM, list[float]]] = []
    for _ in range(phases):
        if done:
            phase = phase.next()
            model = convert_weights(model, phase.config(len(text.characters)), strict=True).model
        began = time.perf_counter()
        losses = train(model, text.train, phase)
        done.append((phase, model, losses))
        held_out = held_out_loss(model, text.validation, phase.length)
        print(
            f"length {phase.length:4d}, window {phase.window:3d}, learning rate {phase.rate:.1e}: "
            f"validation {held_out:.3f} nats, {time.perf_counter() - began:.0f} s"
        )
    return done


if __name__ == "__main__":
    torch.set_num_threads(1)  # in a model this small threads only wait for each other
    run(Phase(length=64, window=8, rate=4e-3, steps=80), phases=3)
