"""Attention with a learned metric against its naive form and its triangular one."""

from __future__ import annotations

from formers.ops import metric_attention
from formers.ops.attention import naive
from formers.testing.tolerance import assert_close_derived


def test_equals_the_naive_form(randn, padding, poison):
    mask = padding("interior", 3, 21)
    m = randn(4, 6, 6)
    given = [randn(3, 4, 13, 6), m + m.mT, poison(randn(3, 4, 21, 6, seed=1), mask, 2)]
    options = {"causal": True, "key_mask_bs": mask}
    assert_close_derived(
        lambda p, m, keys: metric_attention(p, m, keys_bhsk=keys, **options),
        lambda p, m, keys: naive.metric_attention(p, m, keys_bhsk=keys, **options),
        given,
    )


def test_equals_its_triangular_form(randn):
    m = randn(2, 5, 5)
    p, m = randn(3, 2, 7, 5), (m + m.mT)

    def triangular(p, m):
        return (naive.metric_scores_triangular(p, m) * p.shape[-1] ** -0.5).softmax(-1) @ p

    # Both read a symmetric M, but the triangle reads one half of it: compare gradients of a symmetric parameter.
    assert_close_derived(
        lambda p, m: metric_attention(p, (m + m.mT) / 2), lambda p, m: triangular(p, (m + m.mT) / 2), [p, m]
    )
