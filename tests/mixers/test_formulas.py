"""Mixers against their formulas, written out here in float64 without the library's ops."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from formers.mixers import (
    Dense,
    Elu,
    Exp,
    Fourier,
    Identity,
    Linear,
    Metric,
    Pool,
    Quadratic,
    Relu,
    Softmax,
    SquaredRelu,
    Taylor2,
)
from formers.part import Part
from formers.testing import assert_same, build, padding_mask, tokens

X = tokens()
CASES = [
    pytest.param(c, m, id=f"{'causal' if c else 'both'}{'-padded' if m is not None else ''}")
    for c, m in itertools.product((False, True), (None, padding_mask()))
]
BOTH_WAYS = pytest.mark.parametrize(("causal", "mask"), CASES)


def heads(x: Tensor, count: int) -> Tensor:
    b, length, width = x.shape
    return x.reshape(b, length, count, width // count).permute(0, 2, 1, 3)


def visible(causal: bool, mask: Tensor | None) -> Tensor:
    """Which key (last) each query sees, (B, 1, L, L)."""
    length = X.shape[1]
    seen = torch.ones(2, 1, length, length, dtype=torch.bool)
    if causal:
        seen &= torch.arange(length)[:, None] >= torch.arange(length)
    return seen if mask is None else seen & mask[:, None, None, :]


def softmaxed(scores: Tensor, seen: Tensor) -> Tensor:
    weights = torch.exp(scores - scores.max()) * seen
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / torch.where(total > 0, total, 1), 0)


def check(part: Part, causal: bool, mask: Tensor | None, formula: Any) -> None:
    module = build(part, causal=causal)
    real = torch.ones(X.shape[:2], dtype=torch.bool) if mask is None else mask
    x = X.masked_fill(~real[..., None], 0)
    got, _ = module(X, mask_bl=mask)
    assert_same(got[real], formula(module, x, visible(causal, mask))[real], f"{part}")


def join(y: Tensor) -> Tensor:
    return y.permute(0, 2, 1, 3).flatten(2)


def linear(x: Tensor, layer: Any) -> Tensor:
    y = x @ layer.weight.T
    return y if layer.bias is None else y + layer.bias


@BOTH_WAYS
@pytest.mark.parametrize("part", [Softmax(), Softmax(kv_heads=1), Softmax(bias=True)], ids=str)
def test_softmax(part: Softmax, causal: bool, mask: Tensor | None) -> None:
    def formula(m: Any, x: Tensor, seen: Tensor) -> Tensor:
        groups = part.kv_heads or 3
        q = heads(linear(x, m.q_proj), 3)
        k, v = (heads(linear(x, p), groups).repeat_interleave(3 // groups, 1) for p in (m.k_proj, m.v_proj))
        return linear(join(softmaxed(q @ k.mT / 8**0.5, seen) @ v), m.o_proj)

    check(part, causal, mask, formula)


@BOTH_WAYS
def test_quadratic(causal: bool, mask: Tensor | None) -> None:
    def formula(m: Any, x: Tensor, seen: Tensor) -> Tensor:
        u = m.q_proj.weight.T.reshape(24, 3, 24).permute(1, 0, 2)  # U of each head: x U xᵀ
        scores = torch.einsum("bid,hde,bje->bhij", x, u, x) / 24**0.5
        return linear(join(softmaxed(scores, seen) @ heads(linear(x, m.v_proj), 3)), m.o_proj)

    check(Quadratic(), causal, mask, formula)


@BOTH_WAYS
@pytest.mark.parametrize("part", [Metric(), Metric(positive=True, eps=0.1)], ids=str)
def test_metric(part: Metric, causal: bool, mask: Tensor | None) -> None:
    def formula(m: Any, x: Tensor, seen: Tensor) -> Tensor:
        upper = torch.zeros(3, 8, 8, dtype=torch.float64)
        for n, (i, j) in enumerate(itertools.combinations_with_replacement(range(8), 2)):
            upper[:, i, j] = m.triangle_ht[:, n]
        eye = torch.eye(8, dtype=torch.float64)
        if part.positive:
            metric = (eye + upper).mT @ (eye + upper) + 0.1 * eye
        else:
            metric = eye + upper + upper.mT - torch.diag_embed(torch.diagonal(upper, dim1=1, dim2=2))
        assert_same(metric, metric.mT, "M, transposed")
        assert not part.positive or bool((torch.linalg.eigvalsh(metric) > 0).all())
        p = heads(linear(x, m.p_proj), 3)
        scores = torch.einsum("bhik,hkl,bhjl->bhij", p, metric, p) / 8**0.5
        return linear(join(softmaxed(scores, seen) @ p), m.o_proj)

    check(part, causal, mask, formula)


@pytest.mark.parametrize(
    ("part", "causal", "mask"),
    [
        pytest.param(part, *case.values, id=f"{part}-{case.id}")
        for part in (Dense(), Dense(heads=3), Dense(order="scores"), Dense(order="state"))
        for case in CASES
        if not case.values[0] or "causal" in part.abilities  # an order has no effect in a causal model
    ],
)
def test_dense(part: Dense, causal: bool, mask: Tensor | None) -> None:
    def formula(m: Any, x: Tensor, seen: Tensor) -> Tensor:
        q, xh = heads(linear(x, m.q_proj), part.heads), heads(x, part.heads)
        count = seen.sum(-1).clamp(min=1)  # real tokens that each one sees
        return join((q @ xh.mT * seen) @ xh / count[..., None])

    check(part, causal, mask, formula)


def elu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


KERNELS = {
    Elu(): lambda q, k: elu(q) @ elu(k).mT,
    Relu(): lambda q, k: q.clamp(min=0) @ k.clamp(min=0).mT,
    SquaredRelu(): lambda q, k: q.clamp(min=0) ** 2 @ (k.clamp(min=0) ** 2).mT,
    Exp(): lambda q, k: q.exp() @ k.exp().mT,
    Taylor2(): lambda q, k: 1 + q @ k.mT / 8**0.5 + (q @ k.mT / 8**0.5) ** 2 / 2,
}


@BOTH_WAYS
@pytest.mark.parametrize("normalize", [True, False], ids=["normalized", "sums"])
@pytest.mark.parametrize("feature", KERNELS, ids=str)
def test_linear(feature: Any, normalize: bool, causal: bool, mask: Tensor | None) -> None:
    def formula(m: Any, x: Tensor, seen: Tensor) -> Tensor:
        q, k, v = (heads(linear(x, p), 3) for p in (m.q_proj, m.k_proj, m.v_proj))
        weights = KERNELS[feature](q, k) * seen
        total = weights.sum(-1, keepdim=True)
        weights = torch.where(total != 0, weights / torch.where(total != 0, total, 1), 0) if normalize else weights
        return linear(join(weights @ v), m.o_proj)

    check(Linear(feature=feature, normalize=normalize), causal, mask, formula)


@BOTH_WAYS
@pytest.mark.parametrize("window", [1, 3, 7])
def test_pool(window: int, causal: bool, mask: Tensor | None) -> None:
    def formula(m: Any, x: Tensor, seen: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        for b in range(len(x)):
            real = seen[b, 0, -1].nonzero().flatten().tolist()
            for n, i in enumerate(real):
                first, last = (n - window + 1, n) if causal else (n - window // 2, n + window // 2)
                near = [real[j] for j in range(max(first, 0), min(last, len(real) - 1) + 1)]
                y[b, i] = sum(x[b, j] for j in near) / len(near) - x[b, i]
        return y

    check(Pool(window=window), causal, mask, formula)


def test_fourier() -> None:
    module = build(Fourier(), causal=False)
    length, width = X.shape[1:]
    angles = [2 * torch.pi * (torch.outer(torch.arange(n), torch.arange(n)) % n).double() / n for n in (length, width)]
    want = angles[0].cos() @ X @ angles[1].cos() - angles[0].sin() @ X @ angles[1].sin()
    assert_same(module(X)[0], want, "fourier()")


@BOTH_WAYS
def test_identity(causal: bool, mask: Tensor | None) -> None:
    check(Identity(), causal, mask, lambda m, x, seen: x)
