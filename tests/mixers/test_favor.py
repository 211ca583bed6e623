"""Performer is what its paper says at every head width and scale: keys' exponents are lowered by the largest so far."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from formers.mixers import Performer
from formers.mixers.context import Context
from formers.mixers.qkv import QKV
from formers.mixers.scaled_linear import running_scale
from formers.part import Site, State

LENGTH = 75
ROUNDING = 2e-5
"""float32: exponents of size |x|²/2 ≤ 500 carry an absolute error of 500·2⁻²⁴ = 3e-5, and so features a relative
one."""


def mixer(width: int, *, causal: bool, kind: str = "positive") -> nn.Module:
    torch.manual_seed(0)
    return Performer(kind=kind).build(Site(width=width, heads=1, causal=causal)).eval()


def published(module: nn.Module, q: Tensor, k: Tensor, v: Tensor, *, causal: bool, mirrored: bool = False) -> Tensor:
    """Choromanski et al. 2021, eq. 5, with the largest exponent of all keys taken off, in float64 and without any
    floor."""
    w = module.feature.directions.w_mk.double()
    w = torch.cat([w, -w]) if mirrored else w
    q, k, v = (t.double() for t in (q * q.shape[3] ** -0.25, k * k.shape[3] ** -0.25, v))
    q_exponents, k_exponents = q @ w.mT, k @ w.mT - k.square().sum(-1, keepdim=True) / 2
    phi_q = (q_exponents - q_exponents.amax(-1, keepdim=True)).exp()
    phi_k = (k_exponents - k_exponents.amax((-2, -1), keepdim=True)).exp()
    a = (phi_q @ phi_k.mT).tril() if causal else phi_q @ phi_k.mT
    return a @ v / a.sum(-1, keepdim=True)


def attend(
    module: nn.Module, q: Tensor, k: Tensor, v: Tensor, state: State | None = None
) -> tuple[Tensor, State | None]:
    tokens = torch.zeros(len(q), q.shape[2], q.shape[3])
    y, state = module.attend(QKV(q, k, v), Context(tokens, torch.arange(q.shape[2])[None], None, state))
    return y, state


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("width", [8, 64, 128, 256, 512])
@pytest.mark.parametrize("causal", [True, False])
def test_wide_heads_and_large_keys(width: int, scale: float, causal: bool) -> None:
    module = mixer(width, causal=causal)
    q, k, v = (torch.randn(2, 1, LENGTH, width) * s for s in (scale, scale, 1.0))
    inputs = [t.requires_grad_() for t in (q, k, v)]
    got, want = attend(module, q, k, v)[0], published(module, q, k, v, causal=causal)
    assert (got - want).abs().max() <= ROUNDING * want.abs().max()
    weight = torch.randn_like(got)
    for name, a, b in zip(
        "qkv",
        torch.autograd.grad((got * weight).sum(), inputs),
        torch.autograd.grad((want * weight).sum(), inputs),
        strict=True,
    ):
        assert (a - b).abs().max() <= 4 * ROUNDING * b.abs().max(), f"gradient of {name}"


def test_mirrored_directions() -> None:
    module = mixer(128, causal=True, kind="hyperbolic")
    q, k, v = torch.randn(3, 2, 1, LENGTH, 128) * torch.tensor([2.0, 2.0, 1.0]).view(3, 1, 1, 1, 1)
    want = published(module, q, k, v, causal=True, mirrored=True)
    assert (attend(module, q, k, v)[0] - want).abs().max() <= ROUNDING * want.abs().max()


@pytest.mark.parametrize("growing", [True, False])
def test_steps_agree_while_keys_grow_or_shrink(growing: bool) -> None:
    module = mixer(256, causal=True)
    sizes = torch.linspace(0.1, 3, LENGTH).view(-1, 1)
    sizes = sizes if growing else sizes.flip(0)
    q, k, v = torch.randn(2, 1, LENGTH, 256), torch.randn(2, 1, LENGTH, 256) * sizes, torch.randn(2, 1, LENGTH, 256)
    want, state, ys = published(module, q, k, v, causal=True), None, []
    for cut in (*(slice(i, i + 1) for i in range(5)), slice(5, 40), slice(40, LENGTH)):
        y, state = attend(module, q[:, :, cut], k[:, :, cut], v[:, :, cut], state)
        ys.append(y)
    assert (torch.cat(ys, 2) - want).abs().max() <= ROUNDING * want.abs().max()


def test_a_model_of_one_wide_head_learns() -> None:
    """Its output and gradients were exactly zero: the exponents were lowered by a bound that no key reaches."""
    module = mixer(256, causal=True)
    x = torch.randn(2, LENGTH, 256, requires_grad=True)
    y, _ = module(x)
    y.square().sum().backward()
    assert y.abs().max() > 1e-3
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())


def test_the_scale_is_the_largest_exponent_so_far() -> None:
    largest = torch.tensor([[[1.0, 3.0, 2.0, 5.0]]])
    scale = running_scale(largest, None, None, causal=True)
    assert scale.shift_bhl.tolist() == [[[1, 3, 3, 5]]]
    assert scale.log_decay_bhl is not None
    assert scale.log_decay_bhl.tolist() == [[[0, -2, 0, -2]]]
    assert scale.end_bh.tolist() == [[5]]


def test_masked_keys_do_not_count() -> None:
    largest, mask = torch.tensor([[[9.0, 3.0, 9.0, 5.0]]]), torch.tensor([[False, True, False, True]])
    scale = running_scale(largest, mask, None, causal=True)
    assert scale.shift_bhl.tolist() == [[[0, 3, 3, 5]]]
    assert scale.log_decay_bhl is not None
    assert scale.log_decay_bhl.tolist() == [[[0, 0, 0, -2]]]
    assert running_scale(largest, mask, None, causal=False).end_bh.tolist() == [[5]]
