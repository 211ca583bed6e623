"""Feed-forwards against their formulas in float64."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from formers.ffn import ACTIVATIONS, Activation, Glu, Mlp
from formers.part import Site
from formers.testing import SITE, assert_same, tokens

X = tokens()
FORMULAS = {
    "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "relu": lambda x: x * (x > 0),
    "squared_relu": lambda x: x**2 * (x > 0),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1),
    "identity": lambda x: x,
}


def test_every_activation_has_a_formula() -> None:
    assert set(get_args(Activation)) == ACTIVATIONS.keys() == FORMULAS.keys()


@pytest.mark.parametrize("activation", FORMULAS)
def test_mlp(activation: Activation) -> None:
    m = Mlp(expand=1.5, activation=activation).build(SITE).double()
    hidden = FORMULAS[activation](X @ m.up_proj.weight.T + m.up_proj.bias)
    assert hidden.shape[-1] == 36
    assert_same(m(X), hidden @ m.down_proj.weight.T + m.down_proj.bias, f"mlp with {activation}")


@pytest.mark.parametrize("activation", FORMULAS)
def test_glu(activation: Activation) -> None:
    m = Glu(expand=2, activation=activation).build(SITE).double()
    hidden = FORMULAS[activation](X @ m.gate_proj.weight.T) * (X @ m.up_proj.weight.T)
    assert_same(m(X), hidden @ m.down_proj.weight.T, f"glu with {activation}")


def test_glu_has_the_parameters_of_an_mlp() -> None:
    count = lambda part: sum(p.numel() for p in part.build(SITE).parameters())  # noqa: E731
    assert count(Glu()) == count(Mlp(bias=False))


@pytest.mark.parametrize("kind", [Mlp, Glu])
@pytest.mark.parametrize("expand", [0, -1])
def test_a_width_of_nothing_is_refused(kind: type[Mlp | Glu], expand: float) -> None:
    with pytest.raises(ValueError, match="expand must be positive"):
        kind(expand=expand)


def test_an_mlps_own_initial_scale() -> None:
    module = Mlp(expand=2, init=3.0).build(Site(width=64, heads=1, causal=False))
    module.init_weights(0.02)
    for weight in (module.up_proj.weight, module.down_proj.weight):
        assert weight.std().item() == pytest.approx(3 / (2 * 2 * 64) ** 0.5, rel=0.05)
    with pytest.raises(ValueError, match="init must be at least 0"):
        Mlp(init=-1)


@pytest.mark.parametrize("kind", [Mlp, Glu])
@pytest.mark.parametrize("chunks", [2, 5, 1000])
def test_in_chunks_it_is_the_same(kind: type[Mlp | Glu], chunks: int) -> None:
    whole, pieces = (kind(chunks=n).build(SITE).double() for n in (1, chunks))
    pieces.load_state_dict(whole.state_dict())
    found = []
    for module in (whole, pieces):
        x = X.clone().requires_grad_()
        y = module(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])])
    for want, got in zip(*found, strict=True):
        assert_same(got, want, f"{chunks} chunks")
    with torch.no_grad():
        assert_same(pieces(X), found[0][0], "without gradients")
        assert_same(pieces(X[0, 0]), whole(X[0, 0]), "a single token")
        assert pieces(X[:, :0]).shape == X[:, :0].shape


def peak(part: Mlp | Glu, training: bool) -> int:
    """Most bytes held at once beyond the input, the parameters and their gradients."""
    module, x = part.build(SITE), torch.randn(4, 1024, SITE.width, requires_grad=training)
    run = lambda: module(x).sum().backward() if training else module(x)  # noqa: E731
    with torch.set_grad_enabled(training):
        run()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            run()
    held = most = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


@pytest.mark.parametrize("kind", [Mlp, Glu])
@pytest.mark.parametrize("training", [True, False])
def test_chunks_need_less_memory(kind: type[Mlp | Glu], training: bool) -> None:
    whole, pieces = (peak(kind(expand=8, chunks=n), training) for n in (1, 16))
    assert pieces < 0.5 * whole, f"16 chunks take {pieces / whole:.2f} of the memory"


@pytest.mark.parametrize("kind", [Mlp, Glu])
@pytest.mark.parametrize("chunks", [0, -1])
def test_no_chunks_are_refused(kind: type[Mlp | Glu], chunks: int) -> None:
    with pytest.raises(ValueError, match="chunks must be at least 1"):
        kind(chunks=chunks)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("with_gradient", [True, False])
def test_a_hook_sees_what_the_projection_made(activation, with_gradient):
    """The activation may overwrite the hidden layer only where nobody looks at it."""
    module = Mlp(activation=activation).build(SITE)
    x = torch.randn(3, 5, SITE.width)
    seen = []
    module.up_proj.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.set_grad_enabled(with_gradient):
        y = module(x)
    torch.testing.assert_close(seen[0], torch.nn.functional.linear(x, module.up_proj.weight, module.up_proj.bias))
    with torch.no_grad():
        module.up_proj._forward_hooks.clear()
        torch.testing.assert_close(module(x), y)
