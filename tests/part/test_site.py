from __future__ import annotations

import time

import pytest

from formers.part import Site


@pytest.mark.parametrize(
    ("width", "heads", "near"), [(32, 7, 8), (32, 5, 4), (30, 4, 3), (64, 100, 64), (10**12, 7, 8), (10**12 + 39, 9, 1)]
)
def test_heads_that_divide_are_named_at_once(width: int, heads: int, near: int) -> None:
    start = time.perf_counter()
    with pytest.raises(ValueError, match=f"width {width} does not divide into {heads} heads; {near} heads would work"):
        Site(width=width, heads=1, causal=True).split(heads)
    assert time.perf_counter() - start < 5
