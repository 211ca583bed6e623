"""Low-rank updates reach every projection, merged and unmerged, one for all rows or another for each.

Every `nn.Linear` of a part is called, and with a batch in front: then an update such as LoRA's, which a wrapper adds to
its output, is the same as one that is merged into its weight, and each row may have an update of its own.

Inputs: updates of rank 2, and two of them for the two rows of a batch; of a memory, after up to 1,026 tokens. Products
that are summed in another order differ by rounding, and outputs by what that moves them: it is measured, as random
features whose denominators come near zero magnify it.

Exempt: from updates row by row, projections of what is no token's, such as the distances of `xl`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from formers.part import Part, Site
from formers.testing.compare import FELT, ROUNDING, assert_same, moved
from formers.testing.harness import BATCH, SITE, build, directions, output_with_memory, tokens

_BEFORE = 1026
"""Tokens that fill every memory but the largest, of which a part is as good here."""
_MANY = 1e-9
"""How far weights are moved, relative to themselves, to see how much of it reaches the output."""
_RANK, _SIZE = 2, 0.3
"""Rank of updates, and the standard deviation of their factors."""


def low_rank_updates_merge(part: Part, site: Site = SITE) -> None:
    """An update beside every projection gives what it gives merged into the weight, for the batch and row by row."""
    x = tokens(width=site.width)
    for causal in directions(part):
        plain = build(part, causal=causal, site=site)
        projections = _projections(plain)
        if not projections:
            continue
        one, two = ({name: _update(linear, seed) for name, linear in projections.items()} for seed in range(BATCH))
        with torch.no_grad():
            unchanged = _output(part, plain, x)
            want = _output(part, _merged(plain, one), x)
            got = _output(part, _beside(plain, [one]), x)
        assert moved(got, unchanged) > FELT, f"{part}: low-rank updates of its projections change nothing"
        what = f"{part}: output with low-rank updates beside projections, instead of merged,"
        _same_but_for_rounding(part, [_merged(plain, one)], x, (got, want), what)
        with torch.no_grad():
            shared = _not_of_tokens(part, plain, x)
            kept = [{name: it for name, it in updates.items() if name not in shared} for updates in (one, two)]
            by_row = _output(part, _beside(plain, kept), x)
            merged = [_merged(plain, updates) for updates in kept]
            alone = torch.stack([_output(part, module, x)[row] for row, module in enumerate(merged)])
        what = f"{part}: output where each row has low-rank updates of its own,"
        _same_but_for_rounding(part, merged, x, (by_row, alone), what)


def _same_but_for_rounding(
    part: Part, modules: Sequence[nn.Module], x: Tensor, outputs: tuple[Tensor, Tensor], what: str
) -> None:
    """Raise AssertionError where outputs differ by more than rounding; the modules are those with merged updates."""
    got, want = outputs
    allowed = ROUNDING * float(want.abs().max())
    if not float((got - want).abs().max()) <= allowed:
        allowed = max(_moved_by_rounding(part, module, x, want) for module in modules)
    assert_same(got, want, what, allowed)


@torch.no_grad()
def _moved_by_rounding(part: Part, module: nn.Module, x: Tensor, want: Tensor) -> float:
    """Return how far an output may move where each projection of the module sums its products in another order.

    That moves a projection of N products by up to N roundings of them. How far the output then moves is measured where
    each weight, and so each product, is moved by many roundings.
    """
    moved = copy.deepcopy(module)
    generator, most = torch.Generator().manual_seed(0), 1
    for linear in _projections(moved).values():
        weight = linear.weight
        weight.mul_(1 + _MANY * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
        most = max(most, linear.in_features)
    eps = torch.finfo(torch.float64).eps
    magnified = float((_output(part, moved, x) - _output(part, module, x)).abs().max()) / _MANY
    return ROUNDING * float(want.abs().max()) + most * eps * magnified


def _output(part: Part, module: nn.Module, x: Tensor) -> Tensor:
    return output_with_memory(part, module, x, most=_BEFORE)


def _projections(module: nn.Module) -> dict[str, nn.Linear]:
    return {name: child for name, child in module.named_modules() if isinstance(child, nn.Linear)}


def _update(linear: nn.Linear, seed: int) -> Tensor:
    """Return a matrix of low rank, as large as a weight."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (linear.out_features, _RANK), (_RANK, linear.in_features)
    left, right = (_SIZE * torch.randn(*size, generator=generator, dtype=torch.float64) for size in sizes)
    return left @ right


def _merged(module: nn.Module, updates: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy with updates added to weights."""
    merged = copy.deepcopy(module)
    with torch.no_grad():
        for name, update in updates.items():
            weight = merged.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            weight.add_(update)
    return merged


def _beside(module: nn.Module, updates: Sequence[Mapping[str, Tensor]]) -> nn.Module:
    """Return a copy with updates beside projections: one for all rows, or one for each."""
    wrapped = copy.deepcopy(module)
    for name in updates[0]:
        linear = wrapped.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        owner, _, last = name.rpartition(".")
        setattr(wrapped.get_submodule(owner), last, _Updated(name, linear, [it[name] for it in updates]))
    return wrapped


class _Updated(nn.Module):
    """A projection with low-rank updates beside it: one for all rows of a batch, or one for each row."""

    def __init__(self, name: str, base: nn.Linear, updates: Sequence[Tensor]):
        super().__init__()
        self.name, self.base, self.updates = name, base, updates
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight, self.bias = base.weight, base.bias  # as they are without the update, which PEFT shows as well

    def forward(self, x: Tensor) -> Tensor:
        """Return the projection of (…, N), or of (B, …, N), with updates."""
        y: Tensor = self.base(x)
        if len(self.updates) == 1:
            return y + x @ self.updates[0].mT
        assert len(x) == len(self.updates), f"{self.name} is given {tuple(x.shape)}, which does not begin with the rows"
        return y + torch.stack([row @ update.mT for row, update in zip(x, self.updates, strict=True)])


def _not_of_tokens(part: Part, module: nn.Module, x: Tensor) -> set[str]:
    """Return the projections whose inputs are the same for other tokens."""
    first, second = (_given(part, module, it) for it in (x, x.flip(1)))
    return {name for name, inputs in first.items() if all(map(torch.equal, inputs, second[name]))}


def _given(part: Part, module: nn.Module, x: Tensor) -> dict[str, list[Tensor]]:
    """Return the inputs of every projection that is called."""
    given: dict[str, list[Tensor]] = {}
    hooks = [
        linear.register_forward_pre_hook(lambda _, args, name=name: given.setdefault(name, []).append(args[0]))
        for name, linear in _projections(module).items()
    ]
    try:
        _output(part, module, x)
    finally:
        for hook in hooks:
            hook.remove()
    return given
