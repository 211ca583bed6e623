"""Attention by a known kernel: every form equals linear attention over the features whose product the kernel is."""

from __future__ import annotations

import sys

import pytest
import torch

from formers.mixers import Taylor2
from formers.ops import kernel_attention, kernel_attention_reach
from formers.ops.common import flex_kernel
from formers.ops.linear_attention import kernel_flex, kernel_scores, naive
from formers.testing.tolerance import assert_close_derived

NAMES = ["q", "k", "v"]
KERNEL, FEATURES = Taylor2().kernel(), Taylor2().build(4)
MASKS = [None, "left", "interior", "row"]


def given(randn, rows, keys):
    return [randn(2, 3, rows, 4, seed=1), randn(2, 3, keys, 4, seed=2), randn(2, 3, keys, 5, seed=3)]


def op(impl, **options):
    return lambda q, k, v: kernel_attention(q, k, v, KERNEL, impl=impl, **options)


def by_features(**options):
    return lambda q, k, v: naive.linear_attention(FEATURES(q), FEATURES(k), v, **options)[0]


@pytest.mark.parametrize("impl", ["torch", "blocks", "naive"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("kind", MASKS)
def test_equals_attention_over_features(randn, padding, poison, monkeypatch, impl, kind, normalize, causal):
    monkeypatch.setattr(kernel_scores, "QUERIES_AT_ONCE", 16)
    mask = padding(kind, 2, 41)
    q, k, v = given(randn, 41 if causal else 70, 41)
    options = {"causal": causal, "normalize": normalize, "key_mask_bs": mask}
    inputs = [q, poison(k, mask, 2), poison(v, mask, 2)]
    assert_close_derived(op(impl, **options), by_features(**options), inputs, names=NAMES)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize(("rows", "keys"), [(41, 41), (300, 300), (128, 128), (70, 300)])
def test_flex_equals_attention_over_features(on_flex, randn, padding, poison, rows, keys, kind, causal):
    rows = keys if causal else rows
    mask = padding(kind, 2, keys)
    q, k, v = given(randn, rows, keys)
    options = {"causal": causal, "key_mask_bs": mask}
    inputs = [q, poison(k, mask, 2), poison(v, mask, 2)]
    with torch.no_grad():  # as torch runs it, where it has no gradients
        torch.testing.assert_close(op("flex", **options)(*inputs), by_features(**options)(*inputs))
    on_flex(kernel_flex)
    settings = (KERNEL, causal, mask, True, 0.5)
    assert_close_derived(
        lambda *qkv: kernel_flex.kernel_attention(*qkv, *settings),
        by_features(**options),
        inputs,
        dtype=torch.float32,
        names=NAMES,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("impl", ["torch", "blocks", "flex", "naive"])
def test_half_types_keep_similarities_in_float32(randn, impl, dtype):
    q, k, v = (t.to(dtype) for t in given(randn, 70, 70))
    q, k = q * 40, k * 40  # similarities beyond 65,504
    want = op("naive", causal=True)(*(t.double() for t in (q, k, v)))
    with torch.no_grad():
        y = op(impl, causal=True)(q, k, v)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), want, atol=2e-2, rtol=2e-2)


def test_blocks_keep_no_similarities(randn, monkeypatch):
    monkeypatch.setattr(kernel_scores, "QUERIES_AT_ONCE", 16)
    q, k, v = (t.requires_grad_() for t in given(randn, 41, 41))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()), lambda t: t):
        op("blocks", causal=True)(q, k, v)
    assert 0 < max(saved) <= v.numel()


def test_flex_says_what_it_cannot_do(randn):
    q, k, v = given(randn, 20, 20)
    with pytest.raises(ValueError, match="are not; use impl='blocks'"):
        op("flex", normalize=False)(q, k, v)
    with pytest.raises(ValueError, match="no gradients on a CPU; use impl='blocks'"):
        op("flex")(q.requires_grad_(), k, v)


def test_what_does_not_fit_raises(randn):
    q, k, v = given(randn, 20, 30)
    for options, message in (
        ({"causal": True}, "as many queries as keys"),
        ({"key_mask_bs": torch.ones(2, 20, dtype=torch.bool)}, "key_mask_bs has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            op("auto", **options)(q, k, v)
    with pytest.raises(ValueError, match="one floating-point dtype"):
        op("auto")(q, k, v.float())


def test_lengths_of_a_tile_share_a_kernel(randn, monkeypatch):
    flex_kernel._compiled.cache_clear()
    kernel_flex._kept_tiles.cache_clear()
    with torch.no_grad():
        for length in (130, 200, 256):
            op("flex", causal=True)(*given(randn, length, length))
    assert flex_kernel._compiled.cache_info().misses == 1
    assert kernel_flex._kept_tiles.cache_info().misses == 1


def test_without_a_fused_form_scores_reach_as_far_as_features(randn):
    q, k, v = (t.bfloat16() for t in given(randn, 20, 20))
    for causal in (True, False):
        assert kernel_attention_reach(q, k, v, 15, causal=causal, normalize=True) == 15


def test_on_a_gpu_causal_scores_in_half_precision_reach_farther(monkeypatch):
    module = sys.modules[kernel_attention_reach.__module__]
    monkeypatch.setattr(module, "multiplies_half", lambda *qkv: True)
    q = torch.empty(1, 1, 1, 64)

    def reach(causal=True, normalize=True):
        return kernel_attention_reach(q, q, q, 2145, causal=causal, normalize=normalize)

    assert reach() == 8 * 2145
    assert reach(causal=False) == reach(normalize=False) == 2145
