"""Buckets through FlexAttention: values and gradients of the formula, and no tile of a pair left out."""

import pytest
import torch

from formers.ops import bucketed_attention
from formers.ops.bucketed_attention import flex
from formers.ops.common import flex_kernel
from formers.testing.tolerance import assert_close_derived


def given(length):
    draw = torch.Generator().manual_seed(length)
    sizes = (2, 3, length, 5), (2, 3, length, 5), (2, 3, length, 4)
    return [torch.randn(size, dtype=torch.float64, generator=draw) for size in sizes]


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("self_last", [True, False])
@pytest.mark.parametrize(
    ("rounds", "length", "chunk", "padded"),
    [(1, 64, 8, False), (3, 150, 40, True), (4, 7, 8, False), (2, 1, 8, False), (2, 150, 70, False)],
)
def test_equals_the_definition(on_flex, causal, self_last, rounds, length, chunk, padded):
    bucket = torch.randint(4, (2, 3, rounds, length), generator=torch.Generator().manual_seed(1))
    mask = torch.rand(2, length, generator=torch.Generator().manual_seed(2)) < 0.7 if padded else None
    options = {"chunk": chunk, "causal": causal, "key_mask_bl": mask, "self_last": self_last}

    def form(impl):
        return lambda q, k, v: bucketed_attention(q, k, v, bucket, impl=impl, **options)

    q, k, v = given(length)
    with torch.no_grad():  # as torch runs it, where it has no gradients
        torch.testing.assert_close(form("flex")(q, None, v), form("naive")(q, None, v))
    on_flex(flex)
    plain = {"key_mask_bl": mask, "chunk": chunk, "causal": causal, "self_last": self_last, "scale": 0.3}
    assert_close_derived(
        lambda q, k, v: flex.bucketed_attention(q, k, v, bucket, **plain),
        lambda q, k, v: bucketed_attention(q, k, v, bucket, impl="naive", **options | {"scale": 0.3}),
        [q, k, v],
        dtype=torch.float32,
        names=["q", "k", "v"],
    )


def test_half_types_stay_what_they_are(on_flex, monkeypatch):
    q, _, v = (t.bfloat16() for t in given(40))
    seen = []
    kernel = flex.flex_kernel
    monkeypatch.setattr(flex, "flex_kernel", lambda *qkv, **options: seen.append(qkv[:3]) or kernel(*qkv, **options))
    bucket = torch.zeros(2, 3, 2, 40, dtype=torch.long)
    with torch.no_grad():
        y = bucketed_attention(q, None, v, bucket, chunk=8, impl="flex")
    assert {t.dtype for t in (*seen[0], y)} == {torch.bfloat16}
    want = bucketed_attention(q, None, v, bucket, chunk=8, impl="naive")
    torch.testing.assert_close(y, want, atol=2e-2, rtol=2e-2)


def test_lengths_of_a_tile_share_one_kernel():
    flex_kernel._compiled.cache_clear()
    with torch.no_grad():
        for length in (130, 131, 200, 256):
            q, _, v = given(length)
            bucketed_attention(q, None, v, torch.zeros(2, 3, 2, length, dtype=torch.long), chunk=8, impl="flex")
    assert flex_kernel._compiled.cache_info().currsize == 1


def test_it_says_what_it_cannot_do():
    q, k, v = (t.float().requires_grad_() for t in given(20))
    with pytest.raises(ValueError, match=r"'flex' cannot run on these inputs: .* use impl='torch'"):
        bucketed_attention(q, k, v, torch.zeros(2, 3, 1, 20, dtype=torch.long), chunk=4, impl="flex")
