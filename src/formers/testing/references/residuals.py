"""References of residual wirings."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from formers.part import Site
from formers.residuals import Danet, Gated, PostNorm, PreNorm, Reversible
from formers.testing.references.algebra import Weights, project, under
from formers.testing.references.registry import reference


class Sublayers(NamedTuple):
    """What a wiring connects, each as a function of hidden states (B, L, D), and the weights of the whole layer."""

    mixer: Callable[[Tensor], Tensor]
    ffn: Callable[[Tensor], Tensor]
    mixer_norm: Callable[[Tensor], Tensor]
    ffn_norm: Callable[[Tensor], Tensor]
    weights: Weights


@reference(PreNorm)
def pre_norm(part: PreNorm, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """a = x + mixer(norm(x)); y = a + ffn(norm(a))."""
    a_bld = x_bld + layer.mixer(layer.mixer_norm(x_bld))
    return a_bld + layer.ffn(layer.ffn_norm(a_bld))


@reference(PostNorm)
def post_norm(part: PostNorm, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """a = norm(x + mixer(x)); y = norm(a + ffn(a))."""
    a_bld = layer.mixer_norm(x_bld + layer.mixer(x_bld))
    return layer.ffn_norm(a_bld + layer.ffn(a_bld))


@reference(Danet)
def danet(part: Danet, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """y = x + norm(ffn(mixer(norm(x)))), with another norm behind the feed-forward where the part has one."""
    return x_bld + layer.ffn_norm(layer.ffn(layer.mixer(layer.mixer_norm(x_bld))))


@reference(Reversible)
def reversible(part: Reversible, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """y₁ = x₁ + mixer(norm(x₂)), y₂ = x₂ + ffn(norm(y₁)); both streams begin as x, and the result is their mean."""
    first = x_bld + layer.mixer(layer.mixer_norm(x_bld))
    second = x_bld + layer.ffn(layer.ffn_norm(first))
    return 0.5 * first + 0.5 * second


@reference(Gated)
def gated(part: Gated, site: Site, layer: Sublayers, x_bld: Tensor) -> Tensor:
    """a = g(x, max(mixer(norm(x)), 0)); y = g′(a, max(ffn(norm(a)), 0)), with the gates g and g′."""
    gate = _GATES[part.gate]
    a_bld = gate(under(layer.weights, "mixer_gate"), x_bld, _positive_part(layer.mixer(layer.mixer_norm(x_bld))))
    return gate(under(layer.weights, "ffn_gate"), a_bld, _positive_part(layer.ffn(layer.ffn_norm(a_bld))))


def _positive_part(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.0)


def _sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def _tanh(x: Tensor) -> Tensor:
    return (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x))


def _gru(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """(1 − z) x + z ĥ: r = σ(W_r y + U_r x), z = σ(W_z y + U_z x − b), ĥ = tanh(W_h y + U_h (r x))."""
    width = x.shape[-1]
    w_r, w_z, w_h = (weights["y_proj.weight"][i * width : (i + 1) * width] for i in range(3))
    u_r, u_z = weights["x_proj.weight"][:width], weights["x_proj.weight"][width:]
    r = _sigmoid(y @ w_r.T + x @ u_r.T)
    z = _sigmoid(y @ w_z.T + x @ u_z.T - weights["bias"])
    return (1 - z) * x + z * _tanh(y @ w_h.T + project(weights, "reset_proj", r * x))


def _input(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """σ(W x) x + y."""
    return _sigmoid(project(weights, "gate_proj", x)) * x + y


def _output(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """x + σ(W x − b) y."""
    return x + _sigmoid(project(weights, "gate_proj", x) - weights["bias"]) * y


def _highway(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """c x + (1 − c) y: c = σ(W x + b)."""
    carry = _sigmoid(project(weights, "gate_proj", x) + weights["bias"])
    return carry * x + (1 - carry) * y


def _sigtanh(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """x + σ(W y − b) tanh(U y)."""
    return x + _sigmoid(project(weights, "gate_proj", y) - weights["bias"]) * _tanh(project(weights, "y_proj", y))


_GATES: dict[str, Callable[[Weights, Tensor, Tensor], Tensor]] = {
    "gru": _gru,
    "input": _input,
    "output": _output,
    "highway": _highway,
    "sigtanh": _sigtanh,
}
