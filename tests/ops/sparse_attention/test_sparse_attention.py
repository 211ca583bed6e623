"""Sparse attention: equal to dense attention under the pattern's mask, at a cost that grows with the pairs."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from formers.ops import PairBias, attention, sparse_attention
from formers.patterns import Blockwise, Causal, Every, Fixed, Global, Listed, Local2D, Random, Strided, Window
from formers.testing.tolerance import assert_close_derived

spec = importlib.util.spec_from_file_location("known", Path(__file__).parents[2] / "patterns" / "known.py")
known = importlib.util.module_from_spec(spec)
spec.loader.exec_module(known)


def drawn(length, keys, heads=4, kv_heads=2):
    draw = torch.Generator().manual_seed(length)
    randn = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=draw)  # noqa: E731
    return randn(2, heads, length, 11), randn(2, kv_heads, keys, 11), randn(2, kv_heads, keys, 7)


def some(batch, length, share, seed=0):
    return torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < share


def compare(pattern, inputs, dtype=torch.float32, **options):
    names = ["q", "k", "v", "bias"]

    def form(impl):
        def run(q, k, v, bias=None):
            return sparse_attention(q, k, v, pattern, impl=impl, bias=bias, **options)

        return run

    assert_close_derived(form("gathered"), form("naive"), inputs, dtype=dtype, names=names)


@pytest.mark.parametrize("pattern", known.PATTERNS, ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("length", "keys"), [(150, 150), (128, 128), (40, 150)])
def test_equals_dense_attention_under_the_mask(pattern, causal, length, keys):
    compare(pattern, drawn(length, keys), causal=causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "pattern", [Window(16) | Global(0), Strided(12, "columns"), Random(2), Listed(16, ((0,), (3,)))], ids=str
)
def test_masks_global_tokens_and_biases(pattern, causal):
    inputs = drawn(150, 150)
    bias = torch.randn(4, 150, 150, dtype=torch.float64)
    mask, tokens = some(2, 150, 0.7), some(2, 150, 0.05, seed=1)
    compare(pattern, inputs, causal=causal, key_mask_bs=mask)
    compare(pattern, inputs, causal=causal, global_bs=tokens)
    compare(pattern, [*inputs, bias], causal=causal)
    compare(pattern, [*inputs, bias[:1]], causal=causal, key_mask_bs=mask, global_bs=tokens)


def test_global_tokens_may_differ_in_number():
    tokens = torch.zeros(2, 60, dtype=torch.bool)
    tokens[1, [3, 40, 59]] = True
    compare(Window(4), drawn(60, 60), global_bs=tokens)
    compare(Window(4), drawn(20, 60), causal=True, global_bs=tokens)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    compare(Window(16) | Global(0), drawn(150, 150), dtype=dtype, causal=True)


def test_each_head_may_have_its_own_pattern():
    patterns = [Window(8), Strided(12, "columns"), Blockwise((1, 0)), Window(8)]
    q, k, v = drawn(100, 100, kv_heads=4)
    compare(patterns, [q, k, v])
    whole = sparse_attention(q, k, v, patterns)
    for h, one in enumerate(patterns):
        at = slice(h, h + 1)
        torch.testing.assert_close(whole[:, at], sparse_attention(q[:, at], k[:, at], v[:, at], one))


def test_more_heads_than_patterns_take_them_in_turn():
    q, k, v = drawn(60, 60)
    four = sparse_attention(q, k, v, [Window(3), Global(0), Window(3), Global(0)])
    assert torch.equal(sparse_attention(q, k, v, [Window(3), Global(0)]), four)


def test_a_bias_may_be_a_function_of_places_and_learn():
    slope = torch.randn(4, dtype=torch.float64)

    def form(impl):
        def run(q, k, v, slope):
            def bias(b, q_nl, k_ns):
                return -slope.view(-1, 1, 1) * (q_nl[:, None, :, None] - k_ns[:, None, None, :]).abs()

            return sparse_attention(q, k, v, Window(16), causal=True, bias=PairBias(bias, (slope,)), impl=impl)

        return run

    assert_close_derived(form("gathered"), form("naive"), [*drawn(150, 150), slope], names=["q", "k", "v", "slope"])


def test_every_pair_is_exact_attention():
    q, k, v = drawn(100, 100)
    torch.testing.assert_close(sparse_attention(q, k, v, Every()), attention(q, k, v))
    torch.testing.assert_close(sparse_attention(q, k, v, Every(), causal=True), attention(q, k, v, causal=True))
    torch.testing.assert_close(sparse_attention(q[:, :, :9], k, v, Causal()), attention(q[:, :, :9], k, v, causal=True))


def test_queries_without_keys_give_zeros_and_no_gradient():
    q, k, v = (t.requires_grad_() for t in drawn(60, 60))
    mask = torch.ones(2, 60, dtype=torch.bool)
    mask[0, 20:40] = False
    for options in ({"key_mask_bs": mask}, {"key_mask_bs": mask, "global_bs": torch.zeros_like(mask)}):
        y = sparse_attention(q, k, v, Window(2), **options)
        assert not y[0, :, 22:38].any()
        assert all(g.isfinite().all() for g in torch.autograd.grad(y.square().sum(), (q, k, v)))
    assert not sparse_attention(q, k, v, ~Every()).any()


def test_what_masked_keys_hold_does_not_matter():
    q, k, v = drawn(100, 100)
    mask = some(2, 100, 0.7)
    hidden = ~mask[:, None, :, None]
    bad_k, bad_v = k.masked_fill(hidden, torch.nan).requires_grad_(), v.masked_fill(hidden, torch.inf).requires_grad_()
    want = sparse_attention(q, k, v, Window(4), key_mask_bs=mask)
    got = sparse_attention(q, bad_k, bad_v, Window(4), key_mask_bs=mask)
    assert torch.equal(got, want)
    assert all(g.isfinite().all() for g in torch.autograd.grad(got.sum(), (bad_k, bad_v)))


def test_strided_inputs_are_taken_as_they_are():
    q, k, v = drawn(100, 100, kv_heads=4)
    turned = [t.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() for t in (q, k, v)]
    sliced = [torch.cat([t, t], 3)[..., : t.shape[3]].requires_grad_() for t in (q, k, v)]
    expanded = [q.requires_grad_(), k[:, :1].expand(-1, 4, -1, -1).requires_grad_(), v.requires_grad_()]
    for inputs in (turned, sliced, expanded):
        fresh = [t.detach().clone().requires_grad_() for t in inputs]
        results = [
            torch.autograd.grad(sparse_attention(*given, Window(7)).square().sum(), given) for given in (inputs, fresh)
        ]
        for got, want in zip(*results, strict=True):
            torch.testing.assert_close(got, want)


@pytest.mark.parametrize(
    "pattern",
    [Window(32), Window(32, dilation=8), Window(32) | Global(0), Fixed(64, 2, "local"), Local2D(256, 64)],
    ids=str,
)
def test_work_grows_with_the_length(pattern):
    counts = []
    for length in (2048, 8192):
        q = torch.randn(1, 1, length, 8, device="meta", requires_grad=True)
        with FlopCounterMode(display=False) as counter:
            sparse_attention(q, q, q, pattern, causal=True).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[1] / counts[0] < 4.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda q, k, v: sparse_attention(q, k, v, [Window(2)] * 5), "5 patterns were given for 4 heads"),
        (lambda q, k, v: sparse_attention(q, k, v, []), "0 patterns"),
        (lambda q, k, v: sparse_attention(q, k[..., :3], v, Window(2)), "axis K"),
        (lambda q, k, v: sparse_attention(q, k, v, Window(2), key_mask_bs=torch.ones(2, 20)), "torch.bool"),
        (lambda q, k, v: sparse_attention(q, k, v, Window(2), bias=torch.ones(3, 20, 20)), "broadcasts to"),
        (lambda q, k, v: sparse_attention(q, k, v, Window(2), impl="blocks"), "no impl 'blocks'"),
        (lambda q, k, v: sparse_attention(q, k, v, Window(2), bias=lambda b, i, j: 0), "Wrap a function as PairBias"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong(*drawn(20, 20))
