"""Faults of projections that are not called as modules, or not with the batch in front."""

from __future__ import annotations

from typing import Any

from planting import Patch, fault
from torch import Tensor, nn
from torch.nn import functional as F

from formers.mixers import Softmax
from formers.part import Part, Site
from formers.testing import laws


def read_by(call: Any) -> Part:
    """Softmax attention, of which `call(x, o_proj)` is the output projection."""

    class _Around(nn.Module):
        def __init__(self, inner: nn.Linear):
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = call(x, self.inner)
            return y

    class _Softmax(Softmax):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            module.o_proj = _Around(module.o_proj)
            return module

    return _Softmax()


@fault(laws.low_rank_updates_merge)
def weight_is_read_past_its_module(patch: Patch) -> Part:
    return read_by(lambda x, linear: F.linear(x, linear.weight, linear.bias))


@fault(laws.low_rank_updates_merge)
def tokens_are_projected_without_their_rows(patch: Patch) -> Part:
    return read_by(lambda x, linear: linear(x.flatten(0, 1)).unflatten(0, x.shape[:2]))


@fault(laws.low_rank_updates_merge)
def length_comes_before_the_rows(patch: Patch) -> Part:
    return read_by(lambda x, linear: linear(x.transpose(0, 1)).transpose(0, 1))
