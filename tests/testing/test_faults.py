"""Every law rejects the faults it exists for: a law that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from formers.mixers import Fourier, Linear, Mixer, Pool, Softmax, mixer
from formers.mixers import kv_cache as key_value
from formers.mixers.kv_cache import KeyValueState, Room
from formers.ops import LinearState
from formers.ops.attention.attention import AttentionInputs
from formers.ops.common.dispatch import Forms
from formers.part import Part, Site, State
from formers.positions import Rotary
from formers.positions.rotary import RotaryPosition
from formers.testing import LAWS, SITE, broken_laws, check, keeps_laws, laws

Patch = pytest.MonkeyPatch
FAULTS: dict[str, tuple[Any, Callable[[Patch], Part]]] = {}
"""Name → the law that must catch it, and what makes the faulty part."""


def fault(law: Any) -> Callable[[Callable[[Patch], Part]], Callable[[Patch], Part]]:
    def keep(make: Callable[[Patch], Part]) -> Callable[[Patch], Part]:
        FAULTS[f"{make.__name__}-{law.__name__}"] = (law, make)
        return make

    return keep


def spoiled(base: Part, change: Callable[[Tensor, Tensor, Any, nn.Module], tuple[Tensor, Any]]) -> Part:
    """The part, with `change(y, x, state, module)` on what its mixer returns."""

    class _Spoiled(type(base)):  # type: ignore[misc]
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward

            def forward(x: Tensor, state: Any = None, **rest: Any) -> Any:
                y, after = whole(x, state, **rest)
                return change(y, x, after, module)

            module.forward = forward
            return module

    return _Spoiled()


def op(patch: Patch, change: Callable[..., Tensor]) -> Part:
    """Softmax attention whose fast form, and only that, is changed."""
    forms = Forms.registry["attention"].forms
    fast, options = forms["torch"], AttentionInputs._fields[3:]

    def run(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Tensor:
        return change(fast.run, q, k, v, **dict(zip(options, rest, strict=True)))

    patch.setitem(forms, "torch", replace(fast, run=run))
    return Softmax()


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


@fault(laws.same_as_naive)
@fault(laws.padding_does_not_matter)
def dropped_mask(patch: Patch) -> Part:
    return op(patch, lambda fast, *args, **options: fast(*args, **options | {"key_mask_bs": None}))


@fault(laws.cannot_see_the_future)
def mean_over_the_sequence(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y - y.mean(1, keepdim=True), state))


@fault(laws.cannot_see_the_future)
def gradient_from_the_future(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + (x - x.detach()).sum(1, keepdim=True), state))


@fault(laws.cannot_see_the_future)
@fault(laws.rows_are_independent)
def statistics_of_the_batch_in_training(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y / y.std((0, 1)) if module.training else y, state))


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


@fault(laws.one_pass_equals_pieces)
def forgets_the_key_sum(patch: Patch) -> Part:
    def forget(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        if state is None:
            return y, state
        return y, type(state)(state.seen_b, LinearState(state.sums.s_bhmv, torch.zeros_like(state.sums.z_bhm)))

    return spoiled(Linear(), forget)


@fault(laws.one_pass_equals_pieces)
def keeps_no_state(patch: Patch) -> Part:
    return spoiled(Linear(), lambda y, x, state, module: (y, None))


@fault(laws.one_pass_equals_pieces)
def positions_start_anew(patch: Patch) -> Part:
    patch.setattr(mixer, "count_tokens", lambda x, mask, state: torch.arange(1, x.shape[1] + 1).unsqueeze(0))
    return Rotary()


@fault(laws.gradients_flow_through_states)
def state_without_gradient(patch: Patch) -> Part:
    return spoiled(Linear(), lambda y, x, state, module: (y, state and state.detach()))


@fault(laws.gradients_flow_through_states)
def detach_does_not(patch: Patch) -> Part:
    patch.setattr(State, "detach", lambda self: self)
    return Linear()


@fault(laws.state_is_a_value)
def branches_share_storage(patch: Patch) -> Part:
    def grow(old: Tensor, room: Room | None, new: Tensor) -> tuple[Tensor, Room | None]:
        start, stop = old.shape[2], old.shape[2] + new.shape[2]
        if room is None:
            room = Room(old.new_empty(*old.shape[:2], 256, old.shape[3]), start)
            room.tensor[:, :, :start] = old
        room.tensor[:, :, start:stop] = new  # whoever else writes on from here
        return room.tensor[:, :, :stop], room

    patch.setattr(key_value, "grow", grow)
    return Softmax()


@fault(laws.state_is_a_value)
def reorder_does_not(patch: Patch) -> Part:
    patch.setattr(State, "reorder", lambda self, rows: self.map(lambda t: torch.cat([t, t])[: len(rows)]))
    return Linear()


@fault(laws.state_is_a_value)
def nbytes_is_wrong(patch: Patch) -> Part:
    patch.setattr(State, "nbytes", property(lambda self: 1))
    return Linear()


@fault(laws.trims_as_promised)
def trims_one_too_few(patch: Patch) -> Part:
    trim = KeyValueState.trim
    patch.setattr(KeyValueState, "trim", lambda self, count_b: trim(self, count_b - 1))
    return Softmax()


@fault(laws.trims_as_promised)
def trims_without_saying_so(patch: Patch) -> Part:
    patch.setattr(State, "trim", lambda self, count_b: self)
    return Linear()


@fault(laws.rows_are_independent)
def first_row_leaks(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-6 * x[:1], state))


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


@fault(laws.finite_in_half)
def overflows_in_half(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y * 2.0**18 / 2.0**18, state))


@fault(laws.finite_in_half)
def divides_by_nothing(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y + 1e-3 * x / x.abs().sum(-1, keepdim=True), state))


@fault(laws.finite_in_half)
def silently_wider(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y.float() if y.dtype != torch.float64 else y, state))


@fault(laws.runs_under_autocast)
def products_of_two_dtypes(patch: Patch) -> Part:
    keys = torch.eye(24, dtype=torch.float64)

    def mix(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        with torch.autocast("cpu", enabled=False):
            return y @ keys.to(x.dtype), state

    return spoiled(Softmax(), mix)


@fault(laws.runs_under_autocast)
def too_coarse(patch: Patch) -> Part:
    return spoiled(
        Softmax(), lambda y, x, state, module: ((y * 4).round() / 4 if y.dtype == torch.bfloat16 else y, state)
    )


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


@fault(laws.every_submodule_matters)
def output_is_all_zeros(patch: Patch) -> Part:
    return spoiled(Softmax(), lambda y, x, state, module: (y * 0, state))


@fault(laws.tokens_are_mixed)
def mixes_nothing(patch: Patch) -> Part:
    return spoiled(Pool(), lambda y, x, state, module: (x, state))


@fault(laws.costs_as_promised)
def costs_more_than_promised(patch: Patch) -> Part:
    patch.setattr(Softmax, "growth", lambda self: 1.0)
    return Softmax()


@fault(laws.costs_as_promised)
def promises_nothing(patch: Patch) -> Part:
    patch.setattr(Softmax, "growth", Mixer.growth)
    return Softmax()


@fault(laws.takes_positions_it_declares)
def position_dropped(patch: Patch) -> Part:
    class _Deaf(Softmax):
        def module(self, site: Site) -> Any:
            module: Any = super().module(site)
            module.head_position = None
            return module

    return _Deaf()


@fault(laws.takes_positions_it_declares)
def position_taken_but_not_declared(patch: Patch) -> Part:
    class _Deaf(Pool):
        def check_site(self, site: Site) -> None:
            pass

    return _Deaf()


@fault(laws.positions_count_from_zero)
def counts_from_one(patch: Patch) -> Part:
    class _FromOne(Softmax):
        def build(self, site: Site) -> Any:
            module = super().build(site)
            whole = module.forward

            def forward(x: Tensor, state: Any = None, positions_bl: Tensor | None = None, **rest: Any) -> Any:
                return whole(x + 0.01 if positions_bl is None else x, state, positions_bl=positions_bl, **rest)

            module.forward = forward  # type: ignore[method-assign]
            return module

    return _FromOne()


@fault(laws.positions_count_from_zero)
def ignores_positions(patch: Patch) -> Part:
    patch.setattr(RotaryPosition, "forward", lambda self, x, positions: x)
    return Rotary()


@fault(laws.order_makes_no_difference)
def order_matters(patch: Patch) -> Part:
    class _Ordered(Pool):
        can = Pool.can | {"order_blind"}

    return _Ordered()


@fault(laws.only_differences_count)
def absolute_after_all(patch: Patch) -> Part:
    forward = RotaryPosition.forward
    patch.setattr(RotaryPosition, "forward", lambda self, x, positions: forward(self, x, positions**2))
    return Rotary()


@pytest.mark.parametrize(("law", "make"), FAULTS.values(), ids=list(FAULTS))
def test_the_law_rejects_the_fault(law: Any, make: Any, monkeypatch: Patch) -> None:
    part = make(monkeypatch)
    with pytest.raises((AssertionError, ValueError, RuntimeError, NotImplementedError, AttributeError)) as caught:
        law(part, SITE)
    if law not in (
        laws.costs_as_promised,
        laws.one_pass_equals_pieces,
        laws.runs_under_autocast,
    ):  # where a crash is the answer
        assert caught.type is AssertionError, f"crashed instead of explaining: {caught.value!r}"


def test_every_law_has_a_fault() -> None:
    assert {law for law, _ in FAULTS.values()} == set(LAWS)


def test_a_graph_break_is_found() -> None:
    def break_off(y: Tensor, x: Tensor, state: Any, module: nn.Module) -> Any:
        torch._dynamo.graph_break()
        return y, state

    with pytest.raises(torch._dynamo.exc.Unsupported, match="graph_break"):
        laws.traces_whole(spoiled(Softmax(), break_off))


def test_a_part_answers_for_itself(monkeypatch: Patch) -> None:
    assert keeps_laws(Pool())
    deaf = option_never_arrives(monkeypatch)
    assert not keeps_laws(deaf)
    assert "window" in broken_laws(deaf)["every_option_counts"]
    with pytest.raises(AssertionError, match=r"breaks \d+ of \d+ laws:\n  "):
        check(deaf)
