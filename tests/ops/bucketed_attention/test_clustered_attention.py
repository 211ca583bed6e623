"""Attention in clusters against all pairs, cluster by cluster."""

import pytest
import torch

from formers.ops import attention, clustered_attention
from formers.ops.bucketed_attention import gathered_clusters
from formers.testing.tolerance import assert_close_derived

LENGTH = 33


def given() -> list[torch.Tensor]:
    torch.manual_seed(0)
    q, k = (torch.randn(2, 3, LENGTH, 5, dtype=torch.float64) for _ in range(2))
    return [q, k, torch.randn(2, 3, LENGTH, 4, dtype=torch.float64)]


def picks(clusters: int, count: int, seed: int) -> torch.Tensor:
    scores = torch.rand(2, 3, clusters, LENGTH, generator=torch.Generator().manual_seed(seed))
    return scores.topk(count).indices


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("self_last", [True, False])
def test_equals_the_definition(dtype, causal, padded, self_last):
    mask = torch.rand(2, LENGTH, generator=torch.Generator().manual_seed(2)) < 0.7 if padded else None
    queries, keys = picks(4, 7, 0), picks(4, 7, 1)

    def form(impl):
        options = {"causal": causal, "key_mask_bl": mask, "self_last": self_last, "impl": impl}
        return lambda q, k, v: clustered_attention(q, k, v, queries, keys, **options)

    assert_close_derived(form("torch"), form("naive"), given(), dtype=dtype, names=["q", "k", "v"])


@pytest.mark.parametrize("causal", [True, False])
def test_one_cluster_of_all_is_full_attention(causal):
    q, k, v = given()
    everyone = picks(1, LENGTH, 0)
    got = clustered_attention(q, k, v, everyone, everyone, causal=causal)
    torch.testing.assert_close(got, attention(q, k, v, causal=causal))


def test_a_token_sees_itself_only_where_it_meets_no_other():
    q, k, v = given()
    alone = torch.arange(LENGTH).view(1, 1, LENGTH, 1).expand(2, 3, -1, -1)
    torch.testing.assert_close(clustered_attention(q, k, v, alone, alone, self_last=True), v)
    pairs = torch.arange(LENGTH - 1).view(1, 1, -1, 2).expand(2, 3, -1, -1)
    got = clustered_attention(q, k, v, pairs, pairs, self_last=True)[:, :, :-1]
    torch.testing.assert_close(got, v[:, :, :-1].unflatten(2, (-1, 2)).flip(3).flatten(2, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
def test_half_types_as_a_gpu_multiplies_them(dtype, causal, monkeypatch):
    """A token that only meets itself keeps its value, in numbers that end at 65,504, too."""
    monkeypatch.setattr(gathered_clusters, "multiplies_half", lambda *tensors: True)
    queries, keys = picks(4, 7, 0), picks(4, 7, 1)
    q, k, v = (t.to(dtype) for t in given())
    got = clustered_attention(q, k, v, queries, keys, causal=causal, self_last=True)
    want = clustered_attention(q, k, v, queries, keys, causal=causal, self_last=True, impl="naive")
    assert got.dtype == dtype
    torch.testing.assert_close(got, want, atol=2e-2, rtol=2e-2)
    alone = torch.arange(LENGTH).view(1, 1, LENGTH, 1).expand(2, 3, -1, -1)
    torch.testing.assert_close(clustered_attention(q, k, v, alone, alone, self_last=True), v)
