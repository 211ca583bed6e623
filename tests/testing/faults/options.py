"""Faults of options and of what is saved, drawn or trained."""

from __future__ import annotations

from typing import Any

import torch
from planting import Patch, fault, spoiled
from torch import Tensor, nn

from formers.mixers import BigBird, Linear, Mixer, Pool, Softmax, Sparse
from formers.mixers.softmax import SoftmaxMixer
from formers.ops.common import operations
from formers.part import Part, Site
from formers.positions import Rotary
from formers.testing import laws


@fault(laws.survives_text_and_json)
def text_drops_an_option(patch: Patch) -> Part:
    patch.setattr(Pool, "__repr__", lambda self: "pool()")
    return Pool(window=5)


@fault(laws.survives_text_and_json)
def json_drops_an_option(patch: Patch) -> Part:
    patch.setattr(Pool, "to_json", lambda self: {"part": "pool"})
    return Pool(window=5)


@fault(laws.survives_text_and_json)
def takes_unknown_options(patch: Patch) -> Part:
    patch.setattr(Pool, "swap", lambda self, **options: self)
    return Pool()


@fault(laws.every_option_counts)
def option_never_arrives(patch: Patch) -> Part:
    class _Deaf(Pool):
        def module(self, site: Site) -> Any:
            return Pool().module(site)

    return _Deaf()


@fault(laws.every_option_counts)
def one_choice_means_another(patch: Patch) -> Part:
    class _Same(Rotary):
        def build(self, site: Site) -> Any:
            return Rotary().build(site) if self.layout == "interleaved" else super().build(site)

    return _Same()


@fault(laws.no_option_is_idle)
def list_is_cut_at_the_heads(patch: Patch) -> Part:
    patch.setattr(Sparse, "check_site", Mixer.check_site)
    return Sparse()


@fault(laws.no_option_is_idle)
def option_is_switched_off_by_another(patch: Patch) -> Part:
    patch.setattr(BigBird, "check", lambda self: None)
    return BigBird()


@fault(laws.no_option_is_idle)
def number_of_heads_is_cut(patch: Patch) -> Part:
    class _Cut(Linear):
        some: int = 1

        def module(self, site: Site) -> Any:
            module: Any = super().module(site)
            module.normalize = min(self.some, site.heads) > 1
            return module

    return _Cut()


@fault(laws.randomness_is_owned)
def dropout_in_eval(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (nn.functional.dropout(y, 0.1, training=True), state))


def own_dropout(base: Part) -> Part:
    """Dropout from a generator of its own, which no seed sets and no checkpoint replays."""
    generator = torch.Generator()

    def drop(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        kept = torch.rand(y.shape, generator=generator) > 0.5
        return (y * kept.to(y) if module.training else y), state

    return spoiled(base, drop)


@fault(laws.randomness_is_owned)
@fault(laws.checkpointed_equals_plain)
def randomness_of_its_own(patch: Patch) -> Part:
    return own_dropout(Softmax())


def unsaved_features(persistent: bool) -> Part:
    class _Features(Softmax):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            module.register_buffer("features", torch.randn(site.width), persistent=persistent)
            whole = module.forward

            def forward(x: Tensor, state: Any = None, **rest: Any) -> Any:
                y, after = whole(x, state, **rest)
                return y * module.features, after

            module.forward = forward  # type: ignore[method-assign]
            return module

    return _Features()


@fault(laws.randomness_is_owned)
@fault(laws.saves_whole)
def random_features_not_saved(patch: Patch) -> Part:
    return unsaved_features(persistent=False)


def with_extra(used: bool) -> Part:
    class _Extra(Softmax):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            module.extra = nn.Linear(site.width, site.width)
            return module

    return _Extra()


@fault(laws.every_parameter_trains)
@fault(laws.every_submodule_matters)
def disconnected_layer(patch: Patch) -> Part:
    return with_extra(used=False)


@fault(laws.costs_as_promised)
def costs_more_than_promised(patch: Patch) -> Part:
    patch.setattr(Softmax, "growth", lambda self: 1.0)
    return Softmax()


@fault(laws.costs_as_promised)
def promises_nothing(patch: Patch) -> Part:
    patch.setattr(Softmax, "growth", Mixer.growth)
    return Softmax()


@fault(laws.counted_as_by_hand)
def products_in_place_are_not_counted(patch: Patch) -> Part:
    patch.delitem(operations._FORMULAS, torch.ops.aten.baddbmm_)
    return Linear()


@fault(laws.counted_as_by_hand)
def projects_twice(patch: Patch) -> Part:
    finish = SoftmaxMixer.finish
    patch.setattr(SoftmaxMixer, "finish", lambda self, *args: finish(self, *args) + 0 * finish(self, *args))
    return Softmax()
