"""The number of steps that a model takes for each token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from formers.computation import StackInput, StackOutput
from formers.models.backbone import Transformer
from formers.models.pretrained import FormersModel


@torch.no_grad()
def steps_taken(model: FormersModel, *args: Any, **options: Any) -> Tensor:
    """Return how many steps each token takes when the model is called with these arguments, (B, L), int64.

    Padding takes none where tokens may stop, and as many as all others where they may not. Raise TypeError for a model
    without a backbone of layers.
    """
    backbone = model.base_model
    if not isinstance(backbone, Transformer):
        raise TypeError(f"{type(model).__name__} has no Transformer under it, whose steps could be counted")
    found: list[Tensor] = []

    def keep(module: object, args: tuple[StackInput], out: StackOutput) -> None:
        everywhere_bl = torch.full(out.x_bld.shape[:2], backbone.config.depth, device=out.x_bld.device)
        found.append(everywhere_bl if out.steps_bl is None else out.steps_bl)

    hook = backbone.computation.register_forward_hook(keep)
    try:
        model(*args, **options)
    finally:
        hook.remove()
    return found[0]


class StepCount:
    """The steps of all tokens that a model has seen, where these may differ; padding does not count.

    Attributes:
        steps, tokens: sums over every pass, on the model's device.
    """

    def __init__(self) -> None:
        self.steps = self.tokens = torch.zeros((), dtype=torch.long)

    def add(self, steps_bl: Tensor) -> None:
        """Add the steps of the tokens of a pass, (B, L), 0 for padding."""
        self.steps = self.steps.to(steps_bl.device) + steps_bl.sum()
        self.tokens = self.tokens.to(steps_bl.device) + (steps_bl > 0).sum()

    @property
    def mean(self) -> float | None:
        """Steps per token; None where tokens cannot take different numbers of them, or there were none."""
        return float(self.steps / self.tokens) if self.tokens else None


@contextmanager
def count_steps(model: nn.Module) -> Iterator[StepCount]:
    """Count the steps that tokens take in every pass of the model inside the block.

        with count_steps(model) as taken:
            task.evaluate(model, "test")
        model.flops_per_token(128, taken.mean)

    A model whose tokens all take the same steps, or that is no backbone with a head of ours, counts none.
    """
    counted = StepCount()

    def add(module: object, args: object, out: StackOutput) -> None:
        if out.steps_bl is not None:
            counted.add(out.steps_bl)

    computation = getattr(getattr(model, "base_model", model), "computation", None)
    hook = computation.register_forward_hook(add) if isinstance(computation, nn.Module) else None
    try:
        yield counted
    finally:
        if hook is not None:
            hook.remove()
