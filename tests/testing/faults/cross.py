"""Faults of mixers that read another sequence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from planting import Patch, fault
from torch import Tensor

from formers.mixers import Linear, Softmax
from formers.mixers.linear_cross import LinearCross
from formers.mixers.softmax_cross import SoftmaxCross
from formers.part import Part, Site
from formers.testing import laws


def reading(module: type[SoftmaxCross]) -> Part:
    """Softmax attention that reads another sequence by this module."""

    class _Reading(Softmax):
        def cross_module(self, site: Site) -> SoftmaxCross:
            return module(site)

    return _Reading()


def answering(change: Callable[[Tensor], Tensor]) -> Part:
    """Softmax attention whose answers from another sequence are changed."""

    class _Changed(SoftmaxCross):
        def forward(self, x_bld: Tensor, source: Any) -> Tensor:
            return change(super().forward(x_bld, source))

    return reading(_Changed)


@fault(laws.source_is_read_by_the_formula)
def a_source_is_scaled_wrongly(patch: Patch) -> Part:
    class _Sharper(SoftmaxCross):
        def attend(self, q_bhlk: Tensor, source: Any) -> Tensor:
            return super().attend(1.01 * q_bhlk, source)

    return reading(_Sharper)


@fault(laws.source_is_read_by_the_formula)
@fault(laws.source_is_read_alike_in_every_way)
def padding_of_a_source_is_read(patch: Patch) -> Part:
    class _Deaf(SoftmaxCross):
        def attend(self, q_bhlk: Tensor, source: Any) -> Tensor:
            return super().attend(q_bhlk, replace(source, mask_bs=None))

    return reading(_Deaf)


@fault(laws.source_is_read_by_the_formula)
def padding_is_masked_before_its_features(patch: Patch) -> Part:
    class _Early(LinearCross):
        def keep(self, k_bgsk: Tensor, v_bgsv: Tensor, mask_bs: Any, seen_b: Tensor) -> Any:
            return super().keep(k_bgsk, v_bgsv, None, seen_b)

    class _Reading(Linear):
        def cross_module(self, site: Site) -> LinearCross:
            return _Early(site, self.feature)

    return _Reading()


@fault(laws.source_is_read_alike_in_every_way)
def queries_look_at_each_other(patch: Patch) -> Part:
    return answering(lambda y: y + 1e-4 * y.cumsum(1))


@fault(laws.source_is_read_alike_in_every_way)
def rows_read_the_first_source(patch: Patch) -> Part:
    return answering(lambda y: y[:1].expand_as(y))
