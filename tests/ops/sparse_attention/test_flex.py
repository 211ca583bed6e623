"""FlexAttention: equal where it runs, a reason where it does not."""

from __future__ import annotations

import pytest
import torch

from formers.ops import sparse_attention
from formers.ops.sparse_attention import flex
from formers.patterns import Global, Random, Window


def drawn(length):
    draw = torch.Generator().manual_seed(length)
    return [torch.randn(2, heads, length, width, generator=draw) for heads, width in ((4, 11), (2, 11), (2, 7))]


def some(length, share, seed=0):
    return torch.rand(2, length, generator=torch.Generator().manual_seed(seed)) < share


@pytest.mark.parametrize("causal", [False, True])
def test_flex_attention_agrees(causal):
    q, k, v = drawn(150)
    mask, tokens = some(150, 0.7), some(150, 0.05, seed=1)
    for options in ({}, {"key_mask_bs": mask, "global_bs": tokens}):
        with torch.no_grad():
            got = sparse_attention(q, k, v, [Window(16) | Global(0), Random(2)], causal=causal, impl="flex", **options)
        want = sparse_attention(q, k, v, [Window(16) | Global(0), Random(2)], causal=causal, **options)
        torch.testing.assert_close(got, want)


def test_flex_attention_keeps_its_masks(monkeypatch):
    q, k, v = drawn(90)
    made = []
    monkeypatch.setattr(flex, "_block_mask", lambda *given, make=flex._block_mask: made.append(given) or make(*given))
    with torch.no_grad():
        for _ in range(3):
            sparse_attention(q, k, v, Window(7), causal=True, impl="flex")
        sparse_attention(q, k, v, Window(7), causal=True, impl="flex", key_mask_bs=some(90, 0.7))
    assert len(made) == 2


def test_flex_attention_says_what_it_cannot_do():
    q, k, v = (t.requires_grad_() for t in drawn(20))
    with pytest.raises(ValueError, match=r"'flex' cannot run on these inputs: FlexAttention has no gradients on a CPU"):
        sparse_attention(q, k, v, Window(2), impl="flex")
    with pytest.raises(ValueError, match="no FlexAttention for meta tensors"):
        sparse_attention(q.to("meta"), k.to("meta"), v.to("meta"), Window(2), impl="flex")
