"""Counts by hand beside the defaults, which test_laws.py tries."""

from __future__ import annotations

import pytest

from formers.catalogue import members
from formers.mixers import (
    AdaptiveSpan,
    BigBird,
    Dense,
    Etc,
    Hedgehog,
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
    SlidingDense,
    Softmax,
    Sparse,
    SparseTransformer,
    T2r,
    Taylor2,
)
from formers.part import Site
from formers.patterns import Fixed, Window
from formers.testing import SITE
from formers.testing.hand_counts import Count, counted_by_hand, hand_count, has_hand_count
from formers.testing.laws import counted_as_by_hand
from formers.testing.sites import POSITIONED

VARIANTS = [
    Softmax(kv_heads=1),
    Metric(positive=True),
    *[Dense(order=order) for order in ("scores", "state")],
    Linear(feature=Taylor2()),
    Linear(feature=Hedgehog()),
    Linear(feature=T2r(features=5)),
    Linear(normalize=False),
    *[Performer(kind=kind) for kind in ("hyperbolic", "trigonometric", "relu")],
    Rfa(gate=True),
    Rfa(kernel="arccos"),
    Routing(select="balanced"),
    Routing(select="balanced", leaks=True),
    Routing(local_heads=0, clusters=3),
    Routing(top=0),
    *[Linformer(kind=kind) for kind in ("mean", "max", "conv")],
    Longformer(tokens=(0, 5, 9)),
    LocalDense(window=5, shift=2),
    LocalDense(window=50),
    SlidingDense(window=5),
    Lsh(chunk=16, rounds=2),
    Lsh(buckets=1),
    Etc(tokens=3, segment=4),
    SparseTransformer(pattern=Fixed(8, 2)),
    Sparse(per_head=(Window(5), Window(4, dilation=3))),
    AdaptiveSpan(span=5),
    AdaptiveSpan(span=30, dynamic=True, kv_heads=1),
    BigBird(block=8, first=2),
]


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_operations_are_those_by_hand(part: Mixer) -> None:
    counted_as_by_hand(part, POSITIONED["heads"] if "qk_position" in part.abilities else SITE)


@pytest.mark.parametrize("kind", members(Mixer), ids=lambda kind: kind.name())
def test_every_mixer_is_counted(kind: type[Mixer]) -> None:
    assert has_hand_count(kind())


def test_another_number_is_noticed() -> None:
    class _Idle(Pool):
        pass

    @counted_by_hand(_Idle)
    def one(part: _Idle, site: Site, length: int) -> Count:
        return Count(1, 0)

    with pytest.raises(AssertionError, match="0 operations are counted forward, 1 by hand"):
        counted_as_by_hand(_Idle(), SITE)


def test_a_part_without_a_count_says_how_to_get_one() -> None:
    class _Unknown(Mixer):
        pass

    with pytest.raises(LookupError, match=r"@counted_by_hand\(_Unknown\)"):
        hand_count(_Unknown(), SITE, 3)
