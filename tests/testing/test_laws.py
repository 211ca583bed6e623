"""Every part of the catalogue keeps every law that its abilities demand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from formers.catalogue import AXES, CATALOGUE
from formers.computation import Computation
from formers.ffn import Glu
from formers.memory import Memorizing, NoMemory
from formers.mixers import (
    AdaptiveSpan,
    Dense,
    Favor,
    Fourier,
    Linear,
    Linformer,
    LocalDense,
    Longformer,
    Lsh,
    Metric,
    Mixer,
    Performer,
    Pool,
    Rfa,
    Routing,
    Softmax,
    Sparse,
)
from formers.norms import LayerNorm, MaxNorm, RmsNorm
from formers.part import ABILITIES, Part, Site, Unsupported
from formers.positions import Cosine, Learned, Rotary, Sinusoidal
from formers.residuals import Danet, Gated
from formers.testing import CORE_LAWS, LAWS, POSITIONED, SITE, SLOW_LAWS, WIDE, check, laws_of, trials_of
from formers.testing.harness import mixes_nothing
from formers.testing.laws import (
    compiled_equals_eager,
    counted_as_by_hand,
    every_option_counts,
    every_submodule_matters,
    exports_one_size,
    exports_with_any_length,
    finite_in_half,
    foreign_states_raise,
    generation_equals_recomputation,
    low_rank_updates_merge,
    no_option_is_idle,
    packed_documents_are_separate,
    runs_under_autocast,
    same_as_naive,
    second_derivatives_are_right_or_refused,
    state_is_a_value,
    traces_whole,
    trims_as_promised,
    two_ranks_equal_one_for,
)
from formers.testing.sites import WIDE_PAIR, label

PARTS = [kind() for kind in CATALOGUE if kind is not NoMemory]  # it leaves a mixer as it is
VARIANTS = [
    Softmax(kv_heads=1, bias=True),
    Metric(positive=True),
    AdaptiveSpan(span=40, ramp=8, kv_heads=1, dynamic=True),
    Dense(heads=3),
    Dense(order="scores"),
    Linear(normalize=False, bias=True),
    Linear(bias=True),
    Rfa(bias=True),
    Linear(turned="features"),
    Linear(feature=Favor(regularize=True), turned="features"),
    Pool(window=5),
    Fourier(gain=0.5),
    Sinusoidal(how="concatenate", width=6),
    Learned(beyond="copy", offset=2),
    Rotary(layout="interleaved", fraction=0.5, offset=3),
    Rotary(scaling="yarn", factor=4, trained_length=64),
    Rotary(scaling="ntk", factor=2),
    Rotary(scaling="llama3", factor=4, trained_length=64),
    Cosine(wave="cos-sin"),
    Cosine(per_head=True),
    LocalDense(shift=5, restart=True),
    Memorizing(window=8, size=20, k=4),
    Danet(out_norm=LayerNorm(bias=False)),
    Gated(gate="input"),
    Gated(gate="output"),
    Gated(gate="highway"),
    Gated(gate="sigtanh"),
    LayerNorm(bias=False),
    MaxNorm(weight="before"),
    Glu(bias=True, activation="sigmoid"),
]
"""Parts with options away from their defaults, where these change what runs."""
LONG = {(Memorizing(), law) for law in (every_option_counts, no_option_is_idle, every_submodule_matters)}
"""Parts and laws that take up to a minute, and are slow tests at every site."""
LONG_TO_TRACE = (Performer(), Lsh(), Routing())
"""Parts whose tracing takes a quarter of a minute each."""
AROUND_OPS = CORE_LAWS - {same_as_naive, state_is_a_value, trims_as_promised}
"""The laws on the numbers themselves that a position on hidden states, or on queries and keys, has to do with: neither
ops nor states know of it."""
OFTEN = {
    SITE: CORE_LAWS,
    WIDE: {*CORE_LAWS, finite_in_half},
    WIDE_PAIR: {*CORE_LAWS, finite_in_half},
    POSITIONED["layer"]: {*AROUND_OPS, packed_documents_are_separate, generation_equals_recomputation},
    POSITIONED["heads"]: {*AROUND_OPS, runs_under_autocast, second_derivatives_are_right_or_refused},
    POSITIONED["scores"]: {*CORE_LAWS, counted_as_by_hand, second_derivatives_are_right_or_refused},
    POSITIONED["weights"]: {*CORE_LAWS, runs_under_autocast, counted_as_by_hand},
}
"""Laws of a mixer that a width or a position has most to do with."""


def cases() -> list[Any]:
    """Every part, law and site. At the first site all laws are tried; at the others the rest is slow."""
    return [
        pytest.param(
            *(part, law, site),
            id=f"{part}-{law.__name__}-{label(site)}",
            marks=[] if is_often_tried(part, law, site) else pytest.mark.slow,
        )
        for part in PARTS
        for law, site in trials_of(part)
    ]


def is_often_tried(part: Part, law: Any, site: Site) -> bool:
    if law is exports_with_any_length and not isinstance(part, Mixer | Computation):
        return False  # what is traced is the host's mixer; compilers trace these parts every time, too
    return (site == SITE and (part, law) not in LONG) or law in often_at(part, site)


def often_at(part: Part, site: Site) -> Collection[Any]:
    """The laws that are tried every time at another site than the first; none of what mixes no tokens, as others are
    alike for it but for the width."""
    if mixes_nothing(part):
        return set()
    return OFTEN[site] if isinstance(part, Mixer) else CORE_LAWS & OFTEN[site]


@pytest.mark.parametrize(("part", "law", "site"), cases())
def test_every_part_keeps_its_laws(part: Part, law: Any, site: Site) -> None:
    law(part, site)


def test_every_submodule_of_a_small_memory_matters() -> None:
    every_submodule_matters(Memorizing(window=8, size=20, k=4), SITE)


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_options_keep_the_core_laws(part: Part) -> None:
    check(part, site=SITE, only=CORE_LAWS)


@pytest.mark.parametrize(
    "part",
    [
        Softmax(),
        Linear(),
        Linformer(),
        *(pytest.param(one, marks=pytest.mark.slow) for one in (Performer(), Sparse(), Longformer())),
    ],
    ids=str,
)
def test_heads_of_their_own_width_with_norms_keep_the_laws(part: Part) -> None:
    laws = {*CORE_LAWS, counted_as_by_hand, runs_under_autocast, foreign_states_raise}
    check(part, site=replace(SITE, key_width=6, qk_norm=RmsNorm()), only=laws)


@pytest.mark.slow
@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_options_keep_the_laws(part: Part) -> None:
    refused = {every_option_counts} if isinstance(part, Memorizing) else set()  # FAISS, by so small a memory
    check(part, only=LAWS.keys() - refused)


@pytest.mark.parametrize("site", [SITE, WIDE], ids=label)
def test_low_rank_updates_of_features_whose_denominators_come_near_zero(site: Site) -> None:
    low_rank_updates_merge(Performer(kind="trigonometric"), site)


def test_sums_over_pairs_that_cancel_are_judged_by_their_terms() -> None:
    same_as_naive(Linear(bias=True), WIDE)


def test_an_even_window_keeps_the_causal_laws() -> None:
    class _Causal(Pool):
        can = Pool.can - {"bidirectional"}  # an even window has no middle

    check(_Causal(window=6), site=SITE, only=CORE_LAWS)


def test_every_ability_is_demanded_by_a_law() -> None:
    demanded = frozenset().union(*LAWS.values())
    positions = {"qk_position", "score_position", "weight_position", "relative"}
    looked_at_inside = {"bidirectional", "padding", "trim", "static", *positions}
    assert ABILITIES.keys() - looked_at_inside <= demanded


def test_a_part_of_an_unknown_axis_has_no_laws() -> None:
    class _Axis(Part):
        pass

    with pytest.raises(TypeError, match="no law knows how to build"):
        laws_of(_Axis())


def test_every_axis_has_a_host() -> None:
    assert all(laws_of(next(part for part in PARTS if isinstance(part, axis))) for axis in AXES.values())


@pytest.mark.parametrize(
    "part",
    [pytest.param(part, marks=pytest.mark.slow if part in LONG_TO_TRACE else []) for part in PARTS],
    ids=str,
)
def test_every_part_traces_whole(part: Part) -> None:
    traces_whole(part, SITE)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_part_compiles(part: Part) -> None:
    compiled_equals_eager(part, SITE)


@pytest.mark.parametrize("part", [Sparse(), Lsh(), Routing()], ids=str)
def test_what_is_laid_out_by_the_length_exports_for_one(part: Part) -> None:
    exports_one_size(part, SITE)


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_every_part_exports_for_one_size(part: Part) -> None:
    exports_one_size(part, SITE)


def test_two_ranks_train_as_one() -> None:
    two_ranks_equal_one_for([Softmax(), Linear()])


@pytest.mark.slow
def test_every_part_trains_on_two_ranks() -> None:
    two_ranks_equal_one_for(PARTS)


def test_slow_laws_come_last_and_only_when_asked_for() -> None:
    assert set(laws_of(Softmax())).isdisjoint(SLOW_LAWS)
    assert set(laws_of(Softmax(), slow=True)) >= set(SLOW_LAWS)


def test_unsupported_is_a_value_error() -> None:
    assert issubclass(Unsupported, ValueError)
