"""Law 9: compiled equals eager, checkpointed equals plain.

The compiler takes the forward pass in one graph and gives the same numbers; recomputing the forward pass during
backward gives exactly the same gradients.

Inputs: output and all gradients, in float64, at two lengths one after the other, since compilers leave the second one
open; each direction, and padding in one of them; with compiled kernels, for mixers padding in both. Recomputation with
dropout 0.2.

Exempt: nothing. Compiled kernels are slow to make, and tried only when slow laws are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from formers.mixers import Mixer
from formers.part import Part, Site
from formers.positions import Position
from formers.testing.compare import assert_same, assert_zero
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import (
    LENGTH,
    SITE,
    build,
    directions,
    directions_and_padding,
    padding_mask,
    seed_cpu,
    tokens,
)
from formers.testing.hosts import axis_of

_LENGTHS = (LENGTH, 50)
"""Tokens of the inputs, one after the other."""


def traces_whole(part: Part, site: Site = SITE) -> None:
    """The compiler takes the forward pass in one graph, and what it took gives the same numbers; that of mixers and
    positions once also at a second length. No kernel is compiled."""
    depends_on_length = axis_of(part) in (Mixer, Position)
    for case, (causal, masked) in enumerate(directions_and_padding(part)):
        lengths = _LENGTHS if case == 0 and depends_on_length else _LENGTHS[:1]
        _same_when_compiled(part, site, causal, masked, lengths, "eager", 1e-10)


def compiled_equals_eager(part: Part, site: Site = SITE) -> None:
    """The same with compiled kernels. Slow: several seconds a part, and needs a C++ compiler.

    Angles of positions are float32 for every dtype, and compiled sines and powers round differently: by one unit of
    float32, which the position multiplies.
    """
    for causal, masked in directions_and_padding(part, every=True):
        rounding = LENGTH * torch.finfo(torch.float32).eps
        _same_when_compiled(part, site, causal, masked, _LENGTHS, "inductor", rounding)


def _same_when_compiled(
    part: Part, site: Site, causal: bool, masked: bool, lengths: Sequence[int], backend: str, relative: float
) -> None:
    module = build(part, causal=causal, site=site)
    torch.compiler.reset()
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    for length in lengths:
        x, mask_bl = tokens(length=length, width=site.width), padding_mask(length=length) if masked else None
        want = outputs_and_gradients(module, x, mask_bl=mask_bl)
        found = outputs_and_gradients(Renamed(compiled, module), x, mask_bl=mask_bl)
        for name, tensor in want.items():
            allowed = relative * max(1.0, float(tensor.abs().max()))
            assert_same(found[name], tensor, f"{part} compiled by {backend}, {length} tokens: {name}", allowed)


class Renamed(nn.Module):
    """Calls the compiled module under the parameter names of the module itself."""

    def __init__(self, compiled: object, module: nn.Module):
        super().__init__()
        self.call = [compiled]  # in a list, so that it is no submodule
        for name, child in module.named_children():
            self.add_module(name, child)
        for name, parameter in module.named_parameters(recurse=False):
            self.register_parameter(name, parameter)

    def forward(self, *args: object, **options: object) -> object:
        (call,) = self.call
        assert callable(call)
        return call(*args, **options)


def checkpointed_equals_plain(part: Part, site: Site = SITE) -> None:
    """Recomputing the forward pass during backward changes nothing, with dropout on."""
    for causal in directions(part):
        there = replace(site, dropout=0.2)
        results = [  # a module each: one that has seen a training step may not be what it was
            _trained(build(part, causal=causal, site=there).train(), tokens(width=site.width), recompute)
            for recompute in (False, True)
        ]
        for name, want in results[0].items():
            assert_zero(results[1][name] - want, f"{part}: difference that recomputing makes to {name}")


def _trained(module: nn.Module, x_bld: Tensor, recompute: bool) -> dict[str, Tensor]:
    """Output and gradients of one training pass with a fixed seed."""
    x = x_bld.clone().requires_grad_()
    with torch.random.fork_rng(devices=[]):
        seed_cpu(3)
        y, _ = checkpoint(module, x, use_reentrant=False) if recompute else module(x)
        names = ["the input", *(name for name, _ in module.named_parameters())]
        gradients = torch.autograd.grad(y.square().sum(), [x, *module.parameters()])
    return {"the output": y.detach()} | {f"gradient of {n}": g for n, g in zip(names, gradients, strict=True)}
