"""The number of steps that a model takes for each token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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

    def keep(module: object, args: tuple[Any, StackInput], out: StackOutput) -> None:
        everywhere_bl = torch.full(out.x_bld.shape[:2], backbone.config.depth, device=out.x_bld.device)
        found.append(everywhere_bl if out.steps_bl is None else out.steps_bl)

    hook = backbone.computation.register_forward_hook(keep)
    try:
        model(*args, **options)
    finally:
        hook.remove()
    return found[0]
