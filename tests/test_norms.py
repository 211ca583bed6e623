"""Norms against their formulas in float64."""

from __future__ import annotations

import pytest
import torch

from formers.norms import Hardtanh, LayerNorm, MaxNorm, NoNorm, Norm, RmsNorm
from formers.testing import SITE, assert_same, tokens

X = 3 * tokens() + 1


def test_layer_norm() -> None:
    module = LayerNorm(eps=0.1).build(SITE).double()
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    centred = X - X.mean(-1, keepdim=True)
    want = centred / (centred.square().mean(-1, keepdim=True) + 0.1).sqrt() * module.weight + module.bias
    assert_same(module(X), want, "layer norm")
    assert LayerNorm(bias=False).build(SITE).bias is None


def test_rms_norm() -> None:
    module = RmsNorm(eps=0.1).build(SITE).double()
    torch.nn.init.normal_(module.weight)
    assert_same(module(X), X / (X.square().mean(-1, keepdim=True) + 0.1).sqrt() * module.weight, "RMS norm")


def test_max_norm() -> None:
    largest = X.abs().max(-1, keepdim=True).values
    assert_same(MaxNorm(eps=0.1).build(SITE)(X), X / (largest + 0.1), "max norm")
    after = MaxNorm(weight="after").build(SITE).double()
    before = MaxNorm(weight="before").build(SITE).double()
    for module in (after, before):
        torch.nn.init.normal_(module.weight)
    assert_same(after(X), X / (largest + 1e-3) * after.weight, "max norm, weight after")
    scaled = X * before.weight
    assert_same(before(X), scaled / (scaled.abs().max(-1, keepdim=True).values + 1e-3), "max norm, weight before")


def test_max_norm_does_not_overflow_where_layer_norm_without_wider_sums_would() -> None:
    x = torch.full((1, 1, 24), 6e4, dtype=torch.float16)
    assert torch.isfinite(MaxNorm().build(SITE).half()(x)).all()
    assert torch.isinf(x.square()).all()


def test_hardtanh_and_none() -> None:
    assert_same(Hardtanh().build(SITE)(X), X.clamp(-1, 1), "hardtanh")
    assert NoNorm.name() == "none"
    assert torch.equal(NoNorm().build(SITE)(X), X)


@pytest.mark.parametrize("kind", [LayerNorm, RmsNorm, MaxNorm])
@pytest.mark.parametrize("eps", [0.0, -1.0])
def test_eps_is_positive(kind: type[Norm], eps: float) -> None:
    with pytest.raises(ValueError, match=f"eps must be positive, but {eps} was given"):
        kind.parse(f"{kind.name()}(eps={eps})")
