"""The weights with which a built mixer adds up values, and how much each output depends on each input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from formers.mixers.mixer import MixerModule


def mixing_weights(module: MixerModule, x_bld: Tensor) -> Tensor | None:
    """Return w (H, L, L) with y_i = Σ_j w_ij v_j in each head, as the mixer really gives them; None without values.

    They are read off as derivatives ∂y_i/∂v_j: of what enters `o_proj` by what leaves `v_proj`, both (B, L, H·K).
    Approximations and samples are included. One backward pass a token.

    Args:
        x_bld: one row of hidden states, (1, L, D).
    """
    names = dict(module.named_children())
    if not {"v_proj", "o_proj"} <= names.keys():
        return None
    seen: dict[str, Tensor] = {}

    def cut(_: nn.Module, __: Any, out: Tensor) -> Tensor:
        seen["v"] = out.detach().requires_grad_()
        return seen["v"]

    def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen["y"] = given[0]

    handles = [names["v_proj"].register_forward_hook(cut), names["o_proj"].register_forward_pre_hook(keep)]
    try:
        with torch.enable_grad():
            module(x_bld)
    finally:
        for handle in handles:
            handle.remove()
    heads = module.heads if isinstance(module.heads, int) else 1
    y_lhk = seen["y"][0].unflatten(-1, (heads, -1))
    rows = [torch.autograd.grad(y_hk[:, 0].sum(), seen["v"], retain_graph=True)[0][0] for y_hk in y_lhk]
    return torch.stack(rows).unflatten(-1, (heads, -1))[..., 0].permute(2, 0, 1)


def influence(module: MixerModule, x_bld: Tensor) -> Tensor:
    """Return ‖∂y_i/∂x_j‖ (L, L), the Frobenius norm: how much output i depends on input j, on all ways.

    One backward pass for each number of y. `x_bld` is one row of hidden states, (1, L, D).
    """
    x_bld = x_bld.detach().requires_grad_()
    with torch.enable_grad():
        y_ld = module(x_bld)[0][0]
    norms = []
    for y_d in y_ld:
        by_feature = [torch.autograd.grad(y, x_bld, retain_graph=True)[0][0] for y in y_d]
        norms.append(torch.stack(by_feature).square().sum((0, 2)).sqrt())
    return torch.stack(norms)
