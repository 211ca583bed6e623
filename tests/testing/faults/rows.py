"""Faults between the rows of a batch, and between them and their padding."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault, op, spoiled
from torch import Tensor

from formers.mixers import Documents, Fourier, Longformer, Lsh, MixerModule, Softmax
from formers.mixers.documents import GlobalMask
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


@fault(laws.no_rows_are_taken)
def makes_a_row_of_none(patch: Patch) -> Part:
    def one(y: Tensor, x: Tensor, state: Any, module: Any) -> Any:
        return y if len(x) or module.training else y.new_zeros(1, *y.shape[1:]), state

    return spoiled(Softmax(), one)


@fault(laws.cannot_see_the_future)
@fault(laws.rows_are_independent)
def statistics_of_the_batch_in_training(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y / y.std((0, 1)) if module.training else y, state))


@fault(laws.rows_are_independent)
def first_row_leaks(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * x[:1], state))


def with_other_documents(change: Any) -> Part:
    """Softmax attention that reads `change(documents)` and positions of its own instead of what it is given."""

    class _Other(Softmax):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward

            def forward(x: Any, state: Any = None, *, mask_bl: Any = None, positions_bl: Any = None) -> Any:
                if isinstance(mask_bl, Documents):
                    mask_bl, positions_bl = change(mask_bl, positions_bl)
                return whole(x, state, mask_bl=mask_bl, positions_bl=positions_bl)

            module.forward = forward  # type: ignore[method-assign]
            return module

    return _Other()


@fault(laws.packed_documents_are_separate)
def documents_see_each_other(patch: Patch) -> Part:
    return with_other_documents(lambda documents, positions: (documents.mask_bl, positions))


@fault(laws.packed_documents_are_separate)
def documents_end_a_token_late(patch: Patch) -> Part:
    def late(documents: Documents, positions: Any) -> Any:
        starts_bl = documents.counts_bl == 1
        return Documents.starting_at(starts_bl.roll(1, 1), documents.mask_bl), positions

    return with_other_documents(late)


@fault(laws.packed_documents_are_separate)
def positions_go_on_from_document_to_document(patch: Patch) -> Part:
    def on(documents: Documents, positions: Any) -> Any:
        return documents, torch.arange(documents.shape[1])[None] if positions is None else positions

    return with_other_documents(on)


@fault(laws.packed_documents_are_separate)
def documents_in_the_wrong_order(patch: Patch) -> Part:
    right = Documents.map

    def swapped(self: Documents, mix: Any, grouping: Any) -> Any:
        return right(self, lambda batch: mix(batch).flip(0), grouping)

    patch.setattr(Documents, "map", swapped)
    return Softmax()


@fault(laws.packed_documents_are_separate)
def draws_for_every_batch_of_documents(patch: Patch) -> Part:
    patch.setattr(MixerModule, "_grouping", lambda self: "near")
    return Lsh()


def _with_marks(part: Part, change: Any) -> Part:
    """The part, with `change(mask)` on what its mixer is given as a mask."""

    class _Marked(type(part)):  # type: ignore[misc]
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward

            def forward(x: Tensor, state: Any = None, mask_bl: Any = None, positions_bl: Any = None) -> Any:
                return whole(x, state, mask_bl=change(mask_bl), positions_bl=positions_bl)

            module.forward = forward
            return module

    return _Marked()


@fault(laws.global_tokens_are_those_of_the_row)
def global_in_every_row(patch: Patch) -> Part:
    def everywhere(mask: Any) -> Any:
        if not isinstance(mask, GlobalMask):
            return mask
        return GlobalMask(mask.mask, mask.global_bl.any(0, keepdim=True).expand_as(mask.global_bl))

    return _with_marks(Longformer(), everywhere)


@fault(laws.global_tokens_are_those_of_the_row)
def global_in_no_row(patch: Patch) -> Part:
    return _with_marks(Longformer(), lambda mask: mask.mask if isinstance(mask, GlobalMask) else mask)


@fault(laws.global_tokens_are_refused)
def marks_taken_and_ignored(patch: Patch) -> Part:
    return _with_marks(Softmax(), lambda mask: mask.mask if isinstance(mask, GlobalMask) else mask)
