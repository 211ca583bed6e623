"""Attention in buckets against its definition, and against full attention where buckets hold everything."""

import pytest
import torch

from formers.ops import attention, bucketed_attention
from formers.ops.bucketed_attention import tiled, tiles
from formers.testing.tolerance import assert_close_derived


def given(length: int = 75) -> list[torch.Tensor]:
    torch.manual_seed(0)
    q, k = (torch.randn(2, 3, length, 5, dtype=torch.float64) for _ in range(2))
    return [q, k, torch.randn(2, 3, length, 4, dtype=torch.float64)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("self_last", [True, False])
@pytest.mark.parametrize(("rounds", "length", "padded"), [(1, 64, False), (3, 75, True), (4, 7, False), (2, 1, False)])
def test_equals_the_definition(dtype, causal, self_last, rounds, length, padded):
    bucket = torch.randint(4, (2, 3, rounds, length), generator=torch.Generator().manual_seed(1))
    mask = torch.rand(2, length, generator=torch.Generator().manual_seed(2)) < 0.7 if padded else None

    def form(impl):
        return lambda q, k, v: bucketed_attention(
            q, k, v, bucket, chunk=8, causal=causal, key_mask_bl=mask, self_last=self_last, impl=impl
        )

    assert_close_derived(form("torch"), form("naive"), given(length), dtype=dtype, names=["q", "k", "v"])


def test_pieces_change_nothing(monkeypatch):
    monkeypatch.setattr(tiles, "SCORES_AT_ONCE", 300)
    test_equals_the_definition(torch.float32, True, True, 3, 75, True)
    test_equals_the_definition(torch.float32, False, False, 3, 75, True)


@pytest.mark.parametrize("causal", [True, False])
def test_one_bucket_that_holds_all_is_full_attention(causal):
    q, k, v = given()
    bucket = torch.zeros(2, 3, 1, 75, dtype=torch.long)
    got = bucketed_attention(q, k, v, bucket, chunk=75, causal=causal)
    torch.testing.assert_close(got, attention(q, k, v, causal=causal))


def test_a_pair_that_meets_in_every_round_counts_once():
    q, k, v = given()
    bucket = torch.randint(4, (2, 3, 1, 75))
    once, thrice = (bucketed_attention(q, k, v, bucket.expand(-1, -1, n, -1), chunk=8, causal=True) for n in (1, 3))
    torch.testing.assert_close(thrice, once)


def test_a_token_alone_attends_to_itself():
    q, k, v = given(length=6)
    bucket = torch.arange(6).expand(2, 3, 2, 6)
    torch.testing.assert_close(bucketed_attention(q, k, v, bucket, chunk=4, self_last=True), v)


def test_later_buckets_show_no_other_keys():
    """What chunk a token is in must not depend on where later tokens sort."""
    q, k, v = given()
    bucket = torch.randint(4, (2, 3, 2, 75))
    moved = bucket.clone()
    moved[..., 40:] = 0
    before, after = (bucketed_attention(q, k, v, b, chunk=8, causal=True)[:, :, :40] for b in (bucket, moved))
    torch.testing.assert_close(after, before)


def test_tiles_of_half_a_chunk_change_nothing(monkeypatch):
    monkeypatch.setattr(tiled, "SMALLEST", 1)
    test_equals_the_definition(torch.float64, True, True, 3, 75, True)
    test_one_bucket_that_holds_all_is_full_attention(True)
    test_pieces_change_nothing(monkeypatch)


@pytest.mark.parametrize("causal", [True, False])
def test_keys_are_unit_queries_unless_given(causal):
    q, _, v = given()
    bucket = torch.randint(4, (2, 3, 3, 75), generator=torch.Generator().manual_seed(1))

    def form(impl):
        return lambda q, v: bucketed_attention(q, None, v, bucket, chunk=8, causal=causal, self_last=True, impl=impl)

    assert_close_derived(form("torch"), form("naive"), [q, v], names=["q", "v"])
    unit = torch.nn.functional.normalize(q, dim=-1)
    torch.testing.assert_close(
        form("torch")(q, v), bucketed_attention(q, unit, v, bucket, chunk=8, causal=causal, self_last=True)
    )
