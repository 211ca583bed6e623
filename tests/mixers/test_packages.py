"""Mixers that choose or compress against published packages, with the same weights and the same random choices."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from formers.mixers import Linformer, Lsh, Performer, Routing
from formers.mixers.heads import join_heads, split_heads
from formers.mixers.routing import scale_free
from formers.testing import SITE, assert_same, build, tokens

X = tokens(length=48)
HEADS, WIDTH = SITE.heads, SITE.head_width
BOTH_WAYS = pytest.mark.parametrize("causal", [True, False], ids=["causal", "both"])


def heads_of(module: Any, *names: str) -> list[Tensor]:
    return [split_heads(getattr(module, name)(X), HEADS) for name in names]


# --- Linformer ---


@pytest.mark.parametrize("length", [48, 31, 5])
def test_linformer(length: int) -> None:
    package = pytest.importorskip("linformer", reason="linformer is not installed: pip install formers[oracles]")
    theirs = package.LinformerSelfAttention(SITE.width, SITE.context_length, k=7, heads=HEADS).double()
    module: Any = build(Linformer(length=7), causal=False)
    with torch.no_grad():
        for name, ours in (("to_q", module.q_proj), ("to_k", module.k_proj), ("to_v", module.v_proj)):
            getattr(theirs, name).weight.copy_(ours.weight)
        theirs.to_out.weight.copy_(module.o_proj.weight)
        theirs.to_out.bias.zero_()
        theirs.proj_k.copy_(module.key_length.weight[0].T)
        theirs.proj_v.copy_(module.value_length.weight[0].T)
    assert_same(module(X[:, :length])[0], theirs(X[:, :length]), "output")


# --- Performer ---


@BOTH_WAYS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_performer(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal once their additions to features (1e-4) and causal denominators (1e-6) are taken away; near before."""
    package = pytest.importorskip("performer_pytorch", reason="performer-pytorch is not installed: formers[oracles]")
    module: Any = build(Performer(features=20), causal=causal)
    theirs = package.FastAttention(WIDTH, nb_features=20, causal=causal).double()
    theirs.projection_matrix = module.feature.directions.w_mk.double()
    q, k, v = heads_of(module, "q_proj", "k_proj", "v_proj")
    got = module(X)[0]
    as_published = module.o_proj(join_heads(theirs(q, k, v)))
    assert 1e-6 < float((got - as_published).detach().abs().max()) < 0.05
    inside = package.performer_pytorch
    monkeypatch.setattr(inside, "softmax_kernel", partial(inside.softmax_kernel, eps=0.0))
    if causal:
        theirs.causal_linear_fn = partial(inside.causal_linear_attention_noncuda, eps=0.0)
    assert_same(got, module.o_proj(join_heads(theirs(q, k, v))), "output")


@BOTH_WAYS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_generalized_performer(causal: bool) -> None:
    """Their relu features are ours times √M, so what they add to each is ours times that, too."""
    package = pytest.importorskip("performer_pytorch", reason="performer-pytorch is not installed: formers[oracles]")
    module: Any = build(Performer(features=20, kind="relu"), causal=causal)
    inside = package.performer_pytorch
    kernel = partial(
        inside.generalized_kernel,
        projection_matrix=module.feature.directions.w_mk.double(),
        kernel_epsilon=1e-3 * 20**0.5,
    )
    q, k, v = heads_of(module, "q_proj", "k_proj", "v_proj")
    attend = partial(inside.causal_linear_attention_noncuda, eps=0.0) if causal else inside.linear_attention
    assert_same(module(X)[0], module.o_proj(join_heads(attend(kernel(q), kernel(k), v))), "output")


# --- Routing Transformer ---


def routed(module: Any, package: Any, q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """Their attention with our centroids."""
    clusters = module.centroids.mu_hck.shape[1]
    theirs = package.KmeansAttention(clusters, module.window, HEADS, WIDTH, **options).double().eval()
    theirs.kmeans.means.copy_(module.centroids.mu_hck)
    theirs.kmeans.initted.fill_(True)
    return module.o_proj(join_heads(theirs(q, k, v)[0]))


@pytest.fixture
def routing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Their package; the mean over clusters without what they add to the number of clusters (1e-5)."""
    package = pytest.importorskip(
        "routing_transformer", reason="routing-transformer is not installed: formers[oracles]"
    )
    inside = package.routing_transformer
    monkeypatch.setattr(inside, "scatter_mean", partial(inside.scatter_mean, eps=1e-300))
    return inside


@pytest.mark.parametrize(("clusters", "window"), [(1, 48), (4, 12), (5, 7), (3, 30)])
def test_routing(routing: Any, clusters: int, window: int) -> None:
    """One cluster of everything is full softmax; with more, tokens are in none, one or several."""
    part = Routing(clusters=clusters, window=window, select="balanced", local_heads=0)
    module: Any = build(part, causal=False)
    q, k, v = heads_of(module, "q_proj", "k_proj", "v_proj")
    q, k = scale_free(q), scale_free(k)
    assert_same(module(X)[0], routed(module, routing, q, k, v), "output")
    if clusters == 1:
        assert_same(module(X)[0], module.o_proj(join_heads((q @ k.mT / WIDTH**0.5).softmax(-1) @ v)), "full softmax")


def test_routing_with_shared_queries_and_keys(routing: Any) -> None:
    """Their causal form, which takes unit vectors for keys; ours have the queries' length."""
    part = Routing(clusters=4, window=12, select="balanced", leaks=True, local_heads=0)
    module: Any = build(part, causal=True)
    q, v = heads_of(module, "q_proj", "v_proj")
    q = scale_free(q)
    stretched = q * q.norm(dim=-1, keepdim=True)
    want = routed(module, routing, stretched, q, v, causal=True, shared_qk=True)
    assert_same(module(X)[0], want, "output", 1e-4)  # layer norm's ε keeps vectors from being exactly of one length


# --- Reformer ---


def reformer(module: Any, package: Any, *, causal: bool, rounds: int, bucket_size: int) -> Tensor:
    """Their attention over our buckets, within buckets only, a pair counted once."""
    theirs = package.LSHAttention(
        bucket_size=bucket_size,
        n_hashes=rounds,
        causal=causal,
        attend_across_buckets=False,
        allow_duplicate_attention=rounds == 1,
    ).eval()
    q, v = heads_of(module, "q_proj", "v_proj")
    bucket_bhrl = module.hash(q)
    apart = bucket_bhrl + 100 * torch.arange(rounds)[:, None]
    theirs.hash_vectors = lambda *args, **options: apart.flatten(0, 1).flatten(1)
    y = theirs(q.flatten(0, 1), v.flatten(0, 1))[0]
    return module.o_proj(join_heads(y.unflatten(0, q.shape[:2])))


@BOTH_WAYS
@pytest.mark.parametrize("buckets", [1, 2, 8])
def test_reformer_with_one_hash(buckets: int, causal: bool) -> None:
    package = pytest.importorskip("reformer_pytorch", reason="reformer-pytorch is not installed: formers[oracles]")
    module: Any = build(Lsh(rounds=1, chunk=48, buckets=buckets), causal=causal)
    assert_same(module(X)[0], reformer(module, package, causal=causal, rounds=1, bucket_size=24), "output")


def test_reformer_with_four_hashes_and_small_chunks() -> None:
    """Causal attention has no such test: ours looks `chunk` tokens back, wherever chunks would begin."""
    package = pytest.importorskip("reformer_pytorch", reason="reformer-pytorch is not installed: formers[oracles]")
    module: Any = build(Lsh(rounds=4, chunk=8, buckets=6), causal=False)
    want = reformer(module, package, causal=False, rounds=4, bucket_size=8)
    assert_same(module(X)[0], want, "output", 1e-7)  # they add 1e-9 to the number of times a pair is seen


@BOTH_WAYS
def test_reformer_of_hugging_face(causal: bool) -> None:
    """Two chunks that see each other: every pair, whatever the hash, as they do not keep to buckets.

    Their scores lack 1/√K.
    """
    from transformers import ReformerConfig
    from transformers.models.reformer.modeling_reformer import LSHSelfAttention

    config = ReformerConfig(
        hidden_size=SITE.width,
        num_attention_heads=HEADS,
        attention_head_size=WIDTH,
        lsh_attn_chunk_length=24,
        num_hashes=1,
        num_buckets=6,
        is_decoder=causal,
        lsh_attention_probs_dropout_prob=0.0,
    )
    theirs = LSHSelfAttention(config, layer_idx=0).double().eval()
    module: Any = build(Lsh(rounds=1, chunk=48, buckets=1), causal=causal)
    theirs.query_key.load_state_dict({"weight": module.q_proj.weight / WIDTH**0.5})
    theirs.value.load_state_dict(module.v_proj.state_dict())
    want = module.o_proj(theirs(X).hidden_states)
    assert_same(module(X)[0], want, "output", 1e-4)  # they add 1e-6 to the mean square of a key before the root
