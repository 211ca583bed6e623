"""Law 1: a part computes what its formula says."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from formers.part import Part
from formers.site import Site
from formers.testing.compare import assert_same
from formers.testing.gradients import outputs_and_gradients
from formers.testing.plain_ops import plain_ops
from formers.testing.stage import BATCH, LENGTH, SITE, abilities, build, directions, padding_mask, tokens


def same_as_plain(part: Part, site: Site = SITE) -> None:
    """Output and all gradients equal those of the plain forms of the ops, in float32 and in float64.

    The plain form in float64 is the truth. What the plain form loses in float32 is allowed twice; in float64, as much less as
    float64 is finer.
    """
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        for mask_bl in (None, padding_mask()) if "padding" in abilities(part) else (None,):
            x = tokens(width=site.width)
            if mask_bl is not None:  # in a block, what padding holds comes out again where it went in
                x = x.masked_fill(~mask_bl[..., None], 0)
            compare(
                module,
                x,
                mask_bl,
                f"{part}, {'causal' if causal else 'bidirectional'}{'' if mask_bl is None else ', padded'}",
            )


def compare(module: nn.Module, x: Tensor, mask_bl: Tensor | None, what: str) -> None:
    truth = run(module.double(), x, mask_bl, plain=True)
    fast = run(module.double(), x, mask_bl, plain=False)
    rough = run(module.float(), x.float(), mask_bl, plain=True)
    fast_rough = run(module.float(), x.float(), mask_bl, plain=False)
    module.double()
    ratio = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    for name, want in truth.items():
        lost = error(rough[name], want)
        assert_same(fast_rough[name].double(), want, f"{what}: {name} in float32", 2 * lost)
        assert_same(fast[name], want, f"{what}: {name} in float64", 2 * lost * ratio)


def run(module: nn.Module, x: Tensor, mask_bl: Tensor | None, *, plain: bool) -> dict[str, Tensor]:
    if not plain:
        return outputs_and_gradients(module, x, mask_bl=mask_bl)
    with plain_ops():
        return outputs_and_gradients(module, x, mask_bl=mask_bl)


def error(rough: Tensor, truth: Tensor) -> float:
    """The error of the plain form: at least what a sum over all tokens loses, however lucky the plain form was."""
    least = math.sqrt(BATCH * LENGTH) * torch.finfo(rough.dtype).eps * float(truth.abs().max())
    return max(float((rough.double() - truth).abs().max()), least)
