"""Faults of what is computed: another formula, another gradient, the future, order."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault, op, spoiled
from torch import Tensor

from formers.mixers import Pool, Softmax
from formers.part import Part
from formers.testing import laws


@fault(laws.same_as_naive)
def all_zeros(patch: Patch) -> Part:
    return op(patch, lambda fast, *args, **options: fast(*args, **options) * 0)


@fault(laws.same_as_naive)
def shifted_by_one(patch: Patch) -> Part:
    return op(patch, lambda fast, *args, **options: fast(*args, **options).roll(1, 2))


@fault(laws.same_as_naive)
def scaled_by_five_percent(patch: Patch) -> Part:
    return op(patch, lambda fast, *args, **options: fast(*args, **options) * 1.05)


@fault(laws.same_as_naive)
def one_nan(patch: Patch) -> Part:
    def change(fast: Any, *args: Any, **options: Any) -> Tensor:
        y = fast(*args, **options)
        return y.index_put((torch.tensor(1),) * 4, y.new_tensor(torch.nan))

    return op(patch, change)


@fault(laws.same_as_naive)
def right_output_wrong_gradient(patch: Patch) -> Part:
    def change(fast: Any, *args: Any, **options: Any) -> Tensor:
        y = fast(*args, **options)
        return y + 0.05 * (y - y.detach())

    return op(patch, change)


@fault(laws.same_as_naive)
@fault(laws.cannot_see_the_future)
@fault(laws.one_pass_equals_pieces)
def not_causal(patch: Patch) -> Part:
    return op(patch, lambda fast, *args, **options: fast(*args, **options | {"causal": False}))


@fault(laws.cannot_see_the_future)
def mean_over_the_sequence(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y - y.mean(1, keepdim=True), state))


@fault(laws.cannot_see_the_future)
def gradient_from_the_future(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + (x - x.detach()).sum(1, keepdim=True), state))


@fault(laws.tokens_are_mixed)
def mixes_nothing(patch: Patch) -> Part:
    return spoiled(Pool(), lambda y, x, state, module: (x, state))


@fault(laws.every_submodule_matters)
def output_is_all_zeros(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y * 0, state))


@fault(laws.order_makes_no_difference)
def order_matters(patch: Patch) -> Part:
    class _Ordered(Pool):
        can = Pool.can | {"order_blind"}

    return _Ordered()
