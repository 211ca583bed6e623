"""Outputs and all gradients of a module at once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor, nn

from formers.mixers.context import count_tokens
from formers.mixers.documents import Documents, GlobalMask, Mask


def outputs_and_gradients(
    module: nn.Module,
    x_bld: Tensor,
    *,
    mask_bl: Mask = None,
    positions_bl: Tensor | None = None,
    context: AbstractContextManager[object] | None = None,
) -> dict[str, Tensor]:
    """Return `output`, `gradient of the input` and `gradient of NAME` for each parameter, for one random weighting of
    the outputs.

    With a mask, only the outputs of real tokens count. The k-th real token of a row, or of a document in it, always has
    the same weights, wherever it lies, so that gradients with and without padding can be compared. The forward
    pass, and only that, runs in the `context`.
    """
    x = x_bld.detach().clone().requires_grad_()
    with context or nullcontext():
        y, _ = module(x, mask_bl=mask_bl, positions_bl=positions_bl)
    everywhere = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device)
    mask_bl = mask_bl.mask if isinstance(mask_bl, GlobalMask) else mask_bl
    counted_bl = mask_bl.mask_bl if isinstance(mask_bl, Documents) else mask_bl if mask_bl is not None else everywhere
    loss = (y[counted_bl] * _weighting(y, count_tokens(y, mask_bl, None))[counted_bl]).sum()
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    wanted = [x, *parameters.values()]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    names = ["gradient of the input", *(f"gradient of {name}" for name in parameters)]
    found = {
        name: g if g is not None else torch.zeros_like(t) for name, g, t in zip(names, gradients, wanted, strict=True)
    }
    return {"output": y.detach()} | found


def _weighting(y: Tensor, counts_bl: Tensor) -> Tensor:
    """Return fixed random weights of the outputs, of their shape; the same for the k-th counted token of every row."""
    return _drawn(y.shape[-1]).to(y)[counts_bl - 1].expand_as(y)


@lru_cache(maxsize=64)
def _drawn(width: int) -> Tensor:
    """Return random weights for 1,024 tokens, which take longer to draw than a small part takes to run."""
    return torch.randn(1024, width, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
