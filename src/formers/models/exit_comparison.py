"""Generation with early exits against the same with every layer: how alike, with how many layers, how much faster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from formers.computation.step_record import record_steps
from formers.models.causal_lm import CausalLM
from formers.models.exit_calibration import every_layer


@dataclass(frozen=True)
class ExitComparison:
    """Texts generated greedily from the same prompts.

    Attributes:
        consistency: 1 − the edit distance of both texts as a share of their length, mean over prompts.
        layers: mean number of layers of the generated tokens.
        seconds, seconds_every: the fastest of several generations with early exits, and with every layer.
    """

    consistency: float
    layers: float
    seconds: float
    seconds_every: float

    @property
    def speed_up(self) -> float:
        """The ratio of both times: above 1, early exits are faster."""
        return self.seconds_every / self.seconds


def compare_generation(model: CausalLM, prompts: Tensor, *, tokens: int = 100, repeats: int = 3) -> ExitComparison:
    """Generate from prompts (n, P) with early exits and with every layer, in turns, each prompt by itself."""
    fast = slow = float("inf")
    consistency, steps = list[float](), list[Tensor]()
    for round_number in range(repeats):
        begun = time.perf_counter()
        with record_steps() as record:
            early = [_continued(model, prompt, tokens) for prompt in prompts]
        fast = min(fast, time.perf_counter() - begun)
        begun = time.perf_counter()
        with every_layer(model):
            every = [_continued(model, prompt, tokens) for prompt in prompts]
        slow = min(slow, time.perf_counter() - begun)
        if not round_number:
            consistency = [1 - edit_distance(a, b) / max(len(a), len(b)) for a, b in zip(early, every, strict=True)]
            steps = [one for one in record.passes if len(one) == 1]  # prompts have more tokens than one
    mean_layers = float(torch.cat(steps).double().mean()) if steps else float("nan")
    return ExitComparison(sum(consistency) / len(consistency), mean_layers, fast, slow)


def edit_distance(first: list[int], second: list[int]) -> int:
    """Return how many tokens have to be put in, taken out or replaced to make one sequence of the other."""
    before = list(range(len(second) + 1))
    for i, one in enumerate(first, 1):
        row = [i]
        for j, other in enumerate(second, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (one != other)))
        before = row
    return before[-1]


def _continued(model: CausalLM, prompt: Tensor, tokens: int) -> list[int]:
    """Return the tokens that the model goes on with, the likeliest each."""
    options: dict[str, Any] = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    out: list[int] = model.generate(prompt.unsqueeze(0).to(model.device), **options)[0, len(prompt) :].tolist()
    return out
