"""Reformer's attention against full attention with shared queries and keys."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from formers.mixers import Lsh
from formers.part import Site
from formers.testing import CORE_LAWS, check

SITE = Site(width=24, heads=3, causal=True, context_length=128)


def full(module, x, causal):
    """softmax over all other tokens of q·q̂/√K; a token that has no other keeps to itself."""
    q, v = (p(x).unflatten(-1, (3, 8)).transpose(1, 2) for p in (module.q_proj, module.v_proj))
    scores = q @ normalize(q, dim=-1).mT / 8**0.5
    scores = scores.masked_fill(torch.eye(x.shape[1], dtype=torch.bool), -1e5)
    if causal:
        scores = scores.masked_fill(torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1), -torch.inf)
    return module.o_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("causal", [True, False])
def test_one_bucket_and_one_round_is_full_attention(causal):
    torch.manual_seed(0)
    module = Lsh(rounds=1, buckets=1, chunk=100).build(replace(SITE, causal=causal)).double()
    x = torch.randn(2, 100, 24).double()
    torch.testing.assert_close(module(x)[0], full(module, x, causal))


@torch.no_grad()
def test_error_falls_with_rounds():
    x = torch.randn(2, 100, 24, generator=torch.Generator().manual_seed(0))
    errors = []
    for rounds in (1, 4, 16):
        torch.manual_seed(0)
        modules = [Lsh(rounds=rounds, buckets=8, chunk=16).build(SITE).eval() for _ in range(8)]
        errors.append(sum(float((m(x)[0] - full(m, x, True)).square().mean()) for m in modules))
    assert errors[2] < errors[1] / 1.5 < errors[0] / 2.25


def test_hashes_are_drawn_per_training_pass_and_fixed_in_eval():
    torch.manual_seed(0)
    module, x = Lsh(rounds=1, buckets=8, chunk=8).build(SITE), torch.randn(1, 60, 24)
    assert not torch.equal(module.train()(x)[0], module(x)[0])
    assert torch.equal(module.eval()(x)[0], module(x)[0])


def test_near_vectors_share_buckets():
    torch.manual_seed(0)
    module, x = Lsh(rounds=64, buckets=16).build(SITE).eval(), torch.randn(1, 3, 40, 8)
    same, near, other = (
        (module.hash(x) == module.hash(y)).float().mean()
        for y in (x, x + 0.2 * torch.randn_like(x), torch.randn_like(x))
    )
    assert same == 1
    assert near > 0.5 > 0.2 > other


@pytest.mark.parametrize(("length", "factors"), [(32, []), (64, [2]), (512, [16]), (8192, [16, 16]), (16384, [32, 16])])
def test_buckets_follow_the_context(length, factors):
    assert Lsh().factors(length) == factors


def test_options_that_cannot_be():
    with pytest.raises(ValueError, match="even"):
        Lsh(buckets=3)
    with pytest.raises(ValueError, match="at least 1"):
        Lsh(rounds=0)


MANY_SMALL_BUCKETS = Lsh(rounds=2, chunk=8, buckets=4)


def test_keeps_the_core_laws_with_many_small_buckets():
    check(MANY_SMALL_BUCKETS, site=SITE, only=CORE_LAWS)


@pytest.mark.slow
def test_keeps_the_laws_with_many_small_buckets():
    check(MANY_SMALL_BUCKETS)
