"""Exact attention against its naive form, and what its docstring promises."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from formers.ops import attention
from formers.ops.attention import naive, query_blocks, sdpa
from formers.testing.tolerance import assert_close_derived

DTYPES = [torch.float32, torch.float64]
NAMES = ["q", "k", "v", "bias"]


@pytest.fixture(params=[1 << 21, 1], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(query_blocks, "SCORES_AT_ONCE", request.param)


def inputs(randn, rows, keys, heads=4, kv_heads=4, width=6, values=5):
    return [
        randn(3, heads, rows, width, seed=1),
        randn(3, kv_heads, keys, width, seed=2),
        randn(3, kv_heads, keys, values, seed=3),
    ]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", [None, "left", "right", "interior", "row"])
@pytest.mark.parametrize(("rows", "keys"), [(37, 37), (20, 41), (41, 20), (1, 9), (1, 1)])
def test_equals_the_naive_form(randn, padding, poison, blocks, rows, keys, kind, causal):
    mask = padding(kind, 3, keys)
    q, k, v = inputs(randn, rows, keys, kv_heads=2)
    given = [q, poison(k, mask, 2), poison(v, mask, 2)]
    options = {"causal": causal, "key_mask_bs": mask}
    assert_close_derived(
        lambda *t: attention(*t, **options), lambda *t: naive.attention(*t, **options), given, names=NAMES
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtypes(randn, padding, dtype):
    options = {"causal": True, "key_mask_bs": padding("left", 3, 37)}
    assert_close_derived(
        lambda *t: attention(*t, **options),
        lambda *t: naive.attention(*t, **options),
        inputs(randn, 37, 37, width=16, values=16),
        names=NAMES,
        dtype=dtype,
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 20, 41), (4, 1, 41), (20, 41), (41,), (3, 1, 1, 41), (1, 4, 20, 1)])
def test_bias_tensors(randn, padding, blocks, shape, causal):
    options = {"causal": causal, "key_mask_bs": padding("interior", 3, 41)}
    assert_close_derived(
        lambda q, k, v, bias: attention(q, k, v, bias=bias, **options),
        lambda q, k, v, bias: naive.attention(q, k, v, bias=bias, **options),
        [*inputs(randn, 20, 41), randn(*shape)],
        names=NAMES,
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("rows", "keys"), [(20, 41), (41, 20), (33, 33)])
def test_a_bias_function_is_the_bias_tensor(randn, blocks, rows, keys, causal):
    assert_close_derived(
        lambda q, k, v, bias: attention(q, k, v, bias=lambda i, j: bias[:, :, i:j], causal=causal),
        lambda q, k, v, bias: naive.attention(q, k, v, bias=bias, causal=causal),
        [*inputs(randn, rows, keys), randn(1, 4, rows, keys)],
        names=NAMES,
    )


def test_minus_infinity_in_a_bias_hides_pairs_and_whole_rows(randn, blocks):
    bias = torch.zeros(20, 41, dtype=torch.float64)
    bias[3], bias[:, 7] = -torch.inf, -torch.inf
    assert_close_derived(
        lambda *t: attention(*t, bias=bias.to(t[0].dtype)),
        lambda *t: naive.attention(*t, bias=bias.to(t[0].dtype)),
        inputs(randn, 20, 41),
    )
    assert not attention(*inputs(randn, 20, 41), bias=bias)[:, :, 3].any()


def test_the_last_query_sees_the_last_key(randn):
    q, k, v = inputs(randn, 5, 9)
    together = attention(torch.cat([randn(3, 4, 4, 6), q], 2), k, v, causal=True)[:, :, 4:]
    torch.testing.assert_close(attention(q, k, v, causal=True), together)


def test_rows_that_see_nothing_give_zeros_and_no_gradient(randn, padding):
    given = [t.requires_grad_() for t in inputs(randn, 9, 9)]
    y = attention(*given, causal=True, key_mask_bs=padding("row", 3, 9))
    assert not y[0].any()
    for gradient in torch.autograd.grad(y.sum(), given):
        assert not gradient[0].any()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("scale", [0.0, -0.3, 2.0])
def test_any_scale(randn, padding, scale):
    options = {"scale": scale, "key_mask_bs": padding("interior", 3, 11)}
    assert_close_derived(
        lambda *t: attention(*t, **options), lambda *t: naive.attention(*t, **options), inputs(randn, 8, 11)
    )


def test_masked_keys_stay_hidden_from_very_low_scores(randn, padding):
    mask = padding("left", 3, 16)
    q, k, v = (t.float() for t in inputs(randn, 16, 16))
    options = {"causal": True, "key_mask_bs": mask}
    y, wanted = attention(q * 1e4, k * 1e4, v, **options), naive.attention(q * 1e4, k * 1e4, v, **options)
    torch.testing.assert_close(y, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("key_mask", [False, True])
def test_the_future_does_not_reach_the_past(randn, padding, key_mask):
    q, k, v = inputs(randn, 24, 24)
    mask = padding("left", 3, 24) if key_mask else None
    before = attention(q, k, v, causal=True, key_mask_bs=mask)
    for t in (q, k, v):
        t[:, :, 13:] *= 1e4
    after = attention(q, k, v, causal=True, key_mask_bs=mask)
    torch.testing.assert_close(after[:, :, :13], before[:, :, :13], rtol=0, atol=0)


@pytest.mark.parametrize("rows", [0, 4])
def test_no_keys(randn, rows):
    assert attention(*inputs(randn, rows, 0)).shape == (3, 4, rows, 5)
    assert not attention(*inputs(randn, rows, 0), impl="naive").any()


def test_checkpointed_equals_direct(randn):
    q, k, v = (t.requires_grad_() for t in inputs(randn, 20, 20))

    def run(q, k, v):
        return attention(q, k, v, causal=True, bias=lambda i, j: torch.zeros(1, 1, j - i, 20, dtype=q.dtype))

    wanted = torch.autograd.grad(run(q, k, v).sum(), (q, k, v))
    found = torch.autograd.grad(checkpoint(run, q, k, v, use_reentrant=False).sum(), (q, k, v))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("rows", "keys"), [(37, 37), (1, 20), (20, 41)])
@pytest.mark.parametrize("added", [None, (1, 1), (4, 1), (1, "rows")])
@pytest.mark.parametrize("causal", [True, False])
def test_heads_that_share_keys_where_kernels_do_not(randn, monkeypatch, rows, keys, added, causal):
    monkeypatch.setattr(sdpa, "_shares_keys", lambda q, mask: False)  # as on a GPU in float32, or under a mask
    given = inputs(randn, rows, keys, kv_heads=2)
    if added is not None:
        given.append(randn(3, added[0], rows if added[1] == "rows" else 1, keys, seed=4))
    assert_close_derived(
        lambda q, k, v, bias=None: attention(q, k, v, causal=causal, bias=bias),
        lambda q, k, v, bias=None: attention(q, k, v, causal=causal, bias=bias, impl="naive"),
        given,
        dtype=torch.float32,
        names=NAMES[: len(given)],
    )


def test_a_gpu_has_few_blocks():
    scores_a_row = 8 * 12 * 2048
    assert query_blocks.rows_at_once(scores_a_row, torch.device("cpu")) == 16
    assert query_blocks.rows_at_once(scores_a_row, torch.device("cuda")) > 2048 / 4


@pytest.mark.parametrize("rows_at_once", [None, 256])
def test_saved_memory_does_not_grow_with_the_scores(randn, monkeypatch, rows_at_once):
    monkeypatch.setattr(query_blocks, "SCORES_AT_ONCE", 64 * 16)
    if rows_at_once is not None:  # as on a GPU, where one block may hold them all
        monkeypatch.setattr(query_blocks, "rows_at_once", lambda *_: rows_at_once)
    saved = []

    def keep(t):
        saved.append(t.numel())
        return t

    q, k, v = (t.requires_grad_() for t in inputs(randn, 256, 256))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        attention(q, k, v, bias=lambda i, j: torch.zeros(1, 4, j - i, 256, dtype=q.dtype))
    assert max(saved) < 256 * 256


def test_wrong_arguments_are_explained(randn):
    q, k, v = inputs(randn, 5, 7)
    with pytest.raises(ValueError, match=r"no impl 'fast'; available: 'auto', 'torch', 'naive'"):
        attention(q, k, v, impl="fast")
    with pytest.raises(ValueError, match=r"axis S"):
        attention(q, k, v[:, :, :6])
    with pytest.raises(ValueError, match=r"axis K"):
        attention(q[..., :3], k, v)
    with pytest.raises(ValueError, match=r"4 query heads cannot share 3"):
        attention(q, k[:, :3], v[:, :3])
    with pytest.raises(ValueError, match=r"float32"):
        attention(q, k.float(), v)
    with pytest.raises(ValueError, match=r"key_mask_bs > 0"):
        attention(q, k, v, key_mask_bs=torch.ones(3, 7))
    with pytest.raises(ValueError, match=r"\(3, 7\)"):
        attention(q, k, v, key_mask_bs=torch.ones(3, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"broadcasts to \(B, H, L, S\) = \(3, 4, 5, 7\)"):
        attention(q, k, v, bias=randn(5, 6))
    with pytest.raises(ValueError, match=r"floating point"):
        attention(q, k, v, bias=torch.ones(5, 7, dtype=torch.bool))


def test_auto_says_what_it_chose(randn, caplog):
    with caplog.at_level(logging.DEBUG, logger="formers.ops"):
        attention(*inputs(randn, 5, 7))
    assert "attention: auto chose impl 'torch'" in caplog.text
