"""Pooling against its naive form."""

from __future__ import annotations

import itertools

import pytest
import torch

from formers.ops import pool_mix
from formers.ops.token_mixing import naive
from formers.testing.tolerance import assert_close_derived


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [None, "left", "right", "interior", "row"])
@pytest.mark.parametrize(("window", "causal"), [(1, False), (3, False), (7, False), (1, True), (4, True)])
@pytest.mark.parametrize("length", [1, 2, 11])
def test_equals_the_naive_form(randn, padding, poison, length, window, causal, kind, dtype):
    mask = padding(kind, 3, length)
    options = {"window": window, "causal": causal, "mask_bl": mask}
    given = [poison(randn(3, length, 4), mask, 1)]
    assert_close_derived(lambda x: pool_mix(x, **options), lambda x: naive.pool_mix(x, **options), given, dtype=dtype)


@pytest.mark.parametrize("cuts", [[1] * 12, [5, 7], [2, 10], [0, 12]])
@pytest.mark.parametrize("kind", [None, "left", "interior", "row"])
def test_one_pass_is_chunks_is_steps(randn, padding, kind, cuts):
    x, mask = randn(3, 12, 4), padding(kind, 3, 12)
    whole, end = pool_mix(x, window=4, causal=True, mask_bl=mask)
    state, ys = None, []
    for i, j in itertools.pairwise([0, *itertools.accumulate(cuts)]):
        part = None if mask is None else mask[:, i:j]
        y, state = pool_mix(x[:, i:j], window=4, causal=True, mask_bl=part, state=state)
        ys.append(y)
    torch.testing.assert_close(torch.cat(ys, 1), whole)
    torch.testing.assert_close(tuple(state), tuple(end))
    assert state.nbytes == sum(t.nbytes for t in state)


def test_where_the_padding_is_does_not_matter(randn):
    x = randn(1, 5, 4)
    wanted = pool_mix(x)[0][0]
    for places in itertools.combinations(range(8), 5):
        mask = torch.zeros(1, 8, dtype=torch.bool)
        mask[0, list(places)] = True
        padded = torch.full((1, 8, 4), torch.nan, dtype=x.dtype)
        padded[mask] = x[0]
        y, _ = pool_mix(padded, mask_bl=mask)
        torch.testing.assert_close(y[mask], wanted)
        assert not y[~mask].any()


def test_wrong_arguments_are_explained(randn):
    x = randn(2, 6, 4)
    with pytest.raises(ValueError, match=r"odd unless causal"):
        pool_mix(x, window=4)
    with pytest.raises(ValueError, match=r"use causal=True"):
        pool_mix(x, state=pool_mix(x, causal=True)[1])
    with pytest.raises(ValueError, match=r"expected \(2, 4, 4\)"):
        pool_mix(x, window=5, causal=True, state=pool_mix(x, causal=True)[1])
    with pytest.raises(ValueError, match=r"mask_bl has shape"):
        pool_mix(x, mask_bl=torch.ones(2, 5, dtype=torch.bool))
