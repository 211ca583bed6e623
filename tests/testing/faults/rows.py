"""Faults between the rows of a batch, and between them and their padding."""

from __future__ import annotations

from typing import Any

from planting import Patch, fault, op, spoiled
from torch import Tensor

from formers.mixers import Fourier, Softmax
from formers.part import Part, Site
from formers.testing import laws


@fault(laws.same_as_naive)
@fault(laws.padding_does_not_matter)
def dropped_mask(patch: Patch) -> Part:
    return op(patch, lambda fast, *args, **options: fast(*args, **options | {"key_mask_bs": None}))


@fault(laws.padding_does_not_matter)
def padding_leaks(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * x.nan_to_num().cumsum(1), state))


@fault(laws.padding_does_not_matter)
def nothing_times_padding(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 0 * x.cumsum(1), state))


@fault(laws.padding_does_not_matter)
def mask_taken_and_ignored(patch: Patch) -> Part:
    class _Deaf(Fourier):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward
            module.forward = lambda x, state=None, mask_bl=None, positions_bl=None: whole(x, state)  # type: ignore[method-assign]
            return module

    return _Deaf()


@fault(laws.lengths_do_not_depend_on_padding)
def counts_padding_against_its_limit(patch: Patch) -> Part:
    def limited(y: Tensor, x: Tensor, state: Any, module: Any) -> Any:
        if x.shape[1] > 25:
            raise ValueError(f"{x.shape[1]} tokens are too many")
        return y, state

    return spoiled(Softmax(), limited)


@fault(laws.no_tokens_are_taken)
def makes_an_output_of_no_tokens(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y if x.shape[1] else y.new_zeros(len(y), 1, 24), state))


@fault(laws.cannot_see_the_future)
@fault(laws.rows_are_independent)
def statistics_of_the_batch_in_training(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y / y.std((0, 1)) if module.training else y, state))


@fault(laws.rows_are_independent)
def first_row_leaks(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * x[:1], state))
