"""Faults around the op: scales, decays, buckets, positions, states, which a reference of the whole part shows."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault, spoiled
from small_parts import SmallRetention, SmallRetentionMixer
from torch import Tensor

from formers.mixers import Softmax, mixer
from formers.part import Part, Site
from formers.positions import T5, Rotary
from formers.positions.t5 import T5Position
from formers.testing import laws


@fault(laws.same_as_reference)
def zeros_all_over(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y * 0, state))


@fault(laws.same_as_reference)
def one_token_late(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y.roll(1, 1), state))


@fault(laws.same_as_reference)
def five_percent_more(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y * 1.05, state))


@fault(laws.same_as_reference)
def a_single_nan(patch: Patch) -> Part:
    def change(y: Tensor, x: Tensor, state: Any, module: Any) -> Any:
        return y.index_put((torch.tensor(1), torch.tensor(-1), torch.tensor(1)), y.new_tensor(torch.nan)), state

    return spoiled(Softmax(), change)


@fault(laws.same_as_reference)
def wrong_gradient_of_a_right_output(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * (y - y.detach()), state))


@fault(laws.same_as_reference)
def sees_the_future(patch: Patch) -> Part:
    class _Sees(Softmax):
        def module(self, site: Site) -> Any:
            module: Any = super().module(site)
            module.causal = False
            return module

    return _Sees()


@fault(laws.same_as_reference)
def deaf_to_masks(patch: Patch) -> Part:
    class _Deaf(Softmax):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward
            module.forward = lambda x, state=None, mask_bl=None, **rest: whole(x.nan_to_num(), state, **rest)  # type: ignore[method-assign]
            return module

    return _Deaf()


@fault(laws.same_as_reference)
def a_little_of_the_padding(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * x.nan_to_num(nan=1.0).cumsum(1), state))


def retention(**methods: Any) -> Part:
    """Retention whose module has other methods."""
    faulty = type("Faulty", (SmallRetentionMixer,), methods)

    class _Faulty(SmallRetention):
        def module(self, site: Site) -> Any:
            return faulty(site)

    return _Faulty()


@fault(laws.same_as_reference)
def scale_of_one_over_k(patch: Patch) -> Part:
    return retention(scale=lambda self, width: 1 / width)


@fault(laws.same_as_reference)
def no_scale(patch: Patch) -> Part:
    return retention(scale=lambda self, width: 1.0)


@fault(laws.same_as_reference)
def decays_in_the_wrong_order(patch: Patch) -> Part:
    return retention(decays=lambda self: SmallRetentionMixer.decays(self)[::-1])


@fault(laws.same_as_reference)
def keys_not_turned_in_the_state(patch: Patch) -> Part:
    return retention(kept=lambda self, k_bhlk, positions_bl: k_bhlk)


@fault(laws.same_as_reference)
def turned_anew_in_each_chunk(patch: Patch) -> Part:
    def turned(self: Any, x_bhlk: Tensor, positions_bl: Tensor) -> Tensor:
        return SmallRetentionMixer.turned(self, x_bhlk, torch.arange(x_bhlk.shape[2]).unsqueeze(0))

    return retention(turned=turned)


@fault(laws.same_as_reference)
def a_position_restarts_in_each_chunk(patch: Patch) -> Part:
    patch.setattr(mixer, "count_tokens", lambda x, mask, state: torch.arange(1, x.shape[1] + 1).unsqueeze(0))
    return Rotary()


@fault(laws.same_as_reference)
def a_position_counts_padding(patch: Patch) -> Part:
    count = mixer.count_tokens
    patch.setattr(mixer, "count_tokens", lambda x, mask, state: count(x, None, state))
    return Rotary()


@fault(laws.same_as_reference)
def buckets_are_too_wide(patch: Patch) -> Part:
    """As with a logarithm to another base, or one that begins elsewhere."""
    bucket = T5Position.bucket
    patch.setattr(T5Position, "bucket", lambda self, distance_n: bucket(self, distance_n // 2))
    return T5()
