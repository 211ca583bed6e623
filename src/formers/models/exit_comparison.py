"""Generation with early exits against the same with every layer: how alike, with how many layers, how much faster."""

from __future__ import annotations

import time
from collections.abc import Callable
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
        seconds, seconds_every: of generation with early exits, and with every layer: of each prompt, the fastest.
    """

    consistency: float
    layers: float
    seconds: float
    seconds_every: float

    @property
    def speed_up(self) -> float:
        """The ratio of both times: above 1, early exits are faster."""
        return self.seconds_every / self.seconds


def compare_generation(
    model: CausalLM,
    prompts: Tensor,
    *,
    tokens: int = 100,
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> ExitComparison:
    """Generate from prompts (n, P) with early exits and with every layer, in turns, each prompt by itself.

    Args:
        tokens: how many to generate.
        repeats: how often; the fastest of them counts.
        clock: tells seconds; on a busy machine `time.process_time` does not count those of others.
    """
    found = [_compared(model, prompt, tokens, repeats, clock) for prompt in prompts]
    layers, consistency, fast, slow = (torch.tensor(one, dtype=torch.float64) for one in zip(*found, strict=True))
    return ExitComparison(float(consistency.mean()), float(layers.mean()), float(fast.sum()), float(slow.sum()))


def _compared(
    model: CausalLM, prompt: Tensor, tokens: int, repeats: int, clock: Callable[[], float]
) -> tuple[float, float, float, float]:
    """Return layers, consistency, and the seconds of both ways, of one prompt."""
    fast = slow = float("inf")
    for _ in range(repeats):
        begun = clock()
        with record_steps() as record:
            early = _continued(model, prompt, tokens)
        fast, begun = min(fast, clock() - begun), clock()
        with every_layer(model):
            every = _continued(model, prompt, tokens)
        slow = min(slow, clock() - begun)
    # without passes there is a rule that never halts; the first pass reads the prompt
    layers = record.mean(first=1) if len(record.passes) > 1 else float(model.config.depth)
    return layers, 1 - edit_distance(early, every) / max(len(early), len(every)), fast, slow


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
