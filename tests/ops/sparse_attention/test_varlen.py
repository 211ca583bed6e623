"""Sequences of different lengths: each as if it were alone, eager and compiled."""

from __future__ import annotations

import pytest
import torch

from formers.ops import PairBias, sparse_attention, varlen_attention
from formers.patterns import Blockwise, Global, Random, Window

LENGTH_B = torch.tensor([40, 0, 23])
PATTERNS = [(Blockwise((1, 0)),), (Random(1, block=4), Blockwise((0, 1)))]


def inputs():
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(3, heads, 40, 8, dtype=torch.float64, generator=draw) for heads in (4, 2, 2)]


@pytest.mark.parametrize("impl", ["auto", "naive"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("patterns", PATTERNS, ids=str)
def test_each_sequence_is_as_if_alone(patterns, causal, impl):
    q, k, v = inputs()
    y = varlen_attention(q, k, v, LENGTH_B, patterns, causal=causal, impl=impl)
    for b, length in enumerate(LENGTH_B.tolist()):
        assert not y[b, :, length:].any()
        if length:
            alone = [t[b : b + 1, :, :length] for t in (q, k, v)]
            torch.testing.assert_close(y[b : b + 1, :, :length], sparse_attention(*alone, patterns, causal=causal))


def test_a_bias_is_that_of_the_sequence():
    q, k, v = inputs()
    slope_b = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True)

    def distances(b, q_nl, k_ns):
        return slope_b[b] * (q_nl[:, None, :, None] - k_ns[:, None, None, :]).abs()

    bias = PairBias(distances, (slope_b,))
    y = varlen_attention(q, k, v, LENGTH_B, PATTERNS[0], bias=bias)
    alone = [t[2:, :, :23] for t in (q, k, v)]
    own = PairBias(lambda _, q_nl, k_ns: distances(2, q_nl, k_ns), (slope_b,))
    torch.testing.assert_close(y[2:, :, :23], sparse_attention(*alone, PATTERNS[0], bias=own))
    assert torch.autograd.grad(y.square().sum(), slope_b)[0].count_nonzero() == 2  # the second sequence is empty


def test_compiles_whole_with_its_patterns():
    torch._dynamo.reset()

    def both(q, k, v):
        found = [varlen_attention(q, k, v, LENGTH_B, patterns, causal=True) for patterns in PATTERNS]
        return found[0] - 2 * found[1]

    given = [t.requires_grad_() for t in inputs()]
    found, wanted = torch.compile(both, fullgraph=True, backend="aot_eager")(*given), both(*given)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(y.square().sum(), given) for y in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_equal_patterns_have_one_number_and_different_ones_never_share():
    numbers = [[one.number() for one in patterns] for patterns in (*PATTERNS, *PATTERNS, (Blockwise((0, 1)),))]
    assert numbers[:2] == numbers[2:4]
    assert len(set(map(tuple, numbers))) == 3


def test_a_compiled_graph_is_for_its_pattern_alone():
    """One function for patterns of one kind, of other options, and with other patterns in them."""
    torch._dynamo.reset()
    q, k, v = (t.detach() for t in inputs())
    one = torch.compile(lambda pattern: sparse_attention(q, k, v, (pattern,)), fullgraph=True, backend="eager")
    for pattern in (
        Window(3),
        Window(5),
        Window(9),
        Window(3) | Global(0),
        Window(5) | Global(0),
        Window(5) | Global(1),
        ~Window(2),
    ):
        torch.testing.assert_close(one(pattern), sparse_attention(q, k, v, (pattern,)))
