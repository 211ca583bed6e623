"""Law 9: compiled equals eager, checkpointed equals plain.

The compiler takes the forward pass in one graph and gives the same numbers; recomputing the forward pass during
backward gives exactly the same gradients.

Inputs: output and all gradients, without and with padding, in float64; recomputation with dropout 0.2.

Exempt: nothing. Compiled kernels are slow to make, and tried only when slow laws are asked for.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from formers.part import Part, Site
from formers.testing.compare import assert_same, assert_zero
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import LENGTH, SITE, abilities, build, directions, padding_mask, tokens


def traces_whole(part: Part, site: Site = SITE) -> None:
    """The compiler takes the forward pass in one graph, and what it took gives the same numbers. No kernel is
    compiled."""
    _same_when_compiled(part, site, "eager", 1e-10)


def compiled_equals_eager(part: Part, site: Site = SITE) -> None:
    """The same with compiled kernels. Slow: several seconds a part, and needs a C++ compiler.

    Angles of positions are float32 for every dtype, and compiled sines and powers round differently: by one unit of
    float32, which the position multiplies.
    """
    _same_when_compiled(part, site, "inductor", LENGTH * torch.finfo(torch.float32).eps)


def _same_when_compiled(part: Part, site: Site, backend: str, relative: float) -> None:
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        masks = (None, padding_mask()) if "padding" in abilities(part) else (None,)
        for mask_bl in masks:
            torch.compiler.reset()
            compiled = torch.compile(module, backend=backend, fullgraph=True)
            x = tokens(width=site.width)
            want = outputs_and_gradients(module, x, mask_bl=mask_bl)
            found = outputs_and_gradients(Renamed(compiled, module), x, mask_bl=mask_bl)
            for name, tensor in want.items():
                allowed = relative * max(1.0, float(tensor.abs().max()))
                assert_same(found[name], tensor, f"{part} compiled by {backend}: {name}", allowed)


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
        torch.manual_seed(3)
        y, _ = checkpoint(module, x, use_reentrant=False) if recompute else module(x)
        names = ["the input", *(name for name, _ in module.named_parameters())]
        gradients = torch.autograd.grad(y.square().sum(), [x, *module.parameters()])
    return {"the output": y.detach()} | {f"gradient of {n}": g for n, g in zip(names, gradients, strict=True)}
