"""Law 12: each part of a part matters.

Silencing a submodule or zeroing a parameter changes the output, and outputs depend on other tokens than their own.

Inputs: 77 tokens, of a memory after as many as fill it; every submodule and every parameter in turn.

Exempt: `identity`, which mixes nothing; submodules without parameters that another form replaces for so few tokens
(`taylor2`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from formers.mixers import Identity, Mixer
from formers.ops import Relation
from formers.part import Part, Site
from formers.positions import RelativeScores
from formers.testing.compare import FELT, moved
from formers.testing.harness import SITE, build, directions, output_with_memory, tokens


def every_submodule_matters(part: Part, site: Site = SITE) -> None:
    """Silencing any submodule, or zeroing any parameter a module holds by itself, changes the output.

    A submodule without parameters may stand aside: another form of the same may do its work for so few tokens.
    """
    x = tokens(width=site.width)
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        with torch.no_grad():
            want = output_with_memory(part, module, x)
            for name, child in list(module.named_modules())[1:]:
                if isinstance(child, nn.ModuleList):
                    continue  # it is never called; its items are
                silenced, called = _silenced(part, module, child, x)
                aside = not called and not any(True for _ in child.parameters())
                assert aside or moved(silenced, want) > FELT, (
                    f"{part}: the output is the same without {name} ({type(child).__name__})"
                )
            for name, parameter in module.named_parameters():
                if not isinstance(_owner(module, name), nn.Linear):
                    change = moved(_zeroed(part, module, parameter, x), want)
                    assert change > FELT, f"{part}: the output is the same with {name} = 0"


def tokens_are_mixed(part: Part, site: Site = SITE) -> None:
    """An output depends on other tokens than its own; only `identity()` mixes nothing."""
    if isinstance(part, Identity) or not isinstance(part, Mixer):
        return
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        x = tokens(width=site.width).requires_grad_()
        (gradient,) = torch.autograd.grad(module(x)[0][:, 40].sum(), x)
        gradient[:, 40] = 0
        assert gradient.abs().max() > FELT, f"{part}: output 40 depends on no other token"


def _silenced(part: Part, module: nn.Module, child: nn.Module, x: Tensor) -> tuple[Tensor, bool]:
    """Return the output when one submodule returns zeros, and whether that was called at all."""
    calls: list[nn.Module] = []

    def silence(module: nn.Module, args: object, out: object) -> object:
        calls.append(module)
        return _silence(out)

    hook = child.register_forward_hook(silence)
    try:
        return output_with_memory(part, module, x), bool(calls)
    finally:
        hook.remove()


def _silence(out: object) -> object:
    if isinstance(out, Tensor):
        return torch.zeros_like(out)
    if isinstance(out, Relation):
        return _Nothing()
    if not isinstance(out, tuple):
        return out
    silenced = (_silence(out[0]), *out[1:])
    return type(out)(*silenced) if hasattr(out, "_fields") else silenced


class _Nothing(RelativeScores):
    """A relation that adds nothing to any score or output."""

    def bias(self, q_bhlk: Tensor, k_bgsk: Tensor, start: int) -> Tensor:
        return q_bhlk.new_zeros(len(q_bhlk), 1, q_bhlk.shape[2], k_bgsk.shape[2])

    def at(self, q_positions_bl: Tensor, k_positions_bs: Tensor) -> RelativeScores:
        return self

    def depends_on(self, q_bhlk: Tensor, k_bgsk: Tensor) -> tuple[Tensor, ...]:
        return ()


def _zeroed(part: Part, module: nn.Module, parameter: nn.Parameter, x: Tensor) -> Tensor:
    kept = parameter.clone()
    parameter.zero_()
    try:
        return output_with_memory(part, module, x)
    finally:
        parameter.copy_(kept)


def _owner(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name.rpartition(".")[0])
