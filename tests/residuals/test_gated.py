"""Gated wiring: its formulas, its start near the identity, and gradients through many layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from formers import CausalLM, MaskedLM, TransformerConfig
from formers.catalogue import members
from formers.ffn import Mlp
from formers.mixers import Mixer, Softmax
from formers.norms import LayerNorm
from formers.part import Site
from formers.residuals import Gated
from formers.residuals.gates import GruGate
from formers.testing import assert_same, build, tokens

D = 24
BIASED = ("gru", "output", "highway", "sigtanh")
GATES = (*BIASED, "input")
NEAR = ("gru", "highway")
"""Gates that return x when b is large, whatever y is; `output` and `sigtanh` add little of y to x then."""


def gru(g: Any, x: Tensor, y: Tensor) -> Tensor:
    (w_r, w_z, w_h), (u_r, u_z) = g.y_proj.weight.split(D), g.x_proj.weight.split(D)
    r, z = (y @ w_r.T + x @ u_r.T).sigmoid(), (y @ w_z.T + x @ u_z.T - g.bias).sigmoid()
    return (1 - z) * x + z * (y @ w_h.T + (r * x) @ g.reset_proj.weight.T).tanh()


FORMULAS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "gru": gru,
    "input": lambda g, x, y: (x @ g.gate_proj.weight.T).sigmoid() * x + y,
    "output": lambda g, x, y: x + (x @ g.gate_proj.weight.T - g.bias).sigmoid() * y,
    "highway": lambda g, x, y: (c := (x @ g.gate_proj.weight.T + g.bias).sigmoid()) * x + (1 - c) * y,
    "sigtanh": lambda g, x, y: x + (y @ g.gate_proj.weight.T - g.bias).sigmoid() * (y @ g.y_proj.weight.T).tanh(),
}


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both"])
@pytest.mark.parametrize("gate", GATES)
def test_wiring(gate: Any, causal: bool) -> None:
    block: Any = build(Gated(gate=gate), causal=causal)
    x, g = tokens(), FORMULAS[gate]
    a = g(block.mixer_gate, x, block.mixer(block.mixer_norm(x))[0].clamp(min=0))
    want = g(block.ffn_gate, a, block.ffn(block.ffn_norm(a)).clamp(min=0))
    assert_same(block(x)[0], want, f"{gate}")


def test_the_gru_is_torchs_where_both_are_the_same() -> None:
    """torch resets U h, the gate h itself: the same where U is diagonal. Its z is our 1 − z."""
    torch.manual_seed(0)
    gate, cell = GruGate(D, 0.7).double(), nn.GRUCell(D, D).double()
    with torch.no_grad():
        gate.reset_proj.weight.copy_(torch.diag(torch.randn(D)))
        (w_r, w_z, w_h), (u_r, u_z) = gate.y_proj.weight.split(D), gate.x_proj.weight.split(D)
        cell.weight_ih.copy_(torch.cat([w_r, -w_z, w_h]))
        cell.weight_hh.copy_(torch.cat([u_r, -u_z, gate.reset_proj.weight]))
        cell.bias_hh.zero_()
        cell.bias_ih.copy_(torch.cat([torch.zeros(D), gate.bias, torch.zeros(D)]))
    x, y = torch.randn(2, 5, D, dtype=torch.float64)
    assert_same(gate(x, y), cell(y, x), "gru")


@pytest.mark.parametrize("gate", GATES)
def test_dropout_falls_on_the_branches_alone(gate: Any) -> None:
    block: Any = build(Gated(gate=gate), causal=True).train()
    block.dropout.p = 1.0
    x, nothing = tokens(), torch.zeros_like(tokens())
    want = block.ffn_gate(block.mixer_gate(x, nothing), nothing)
    assert_same(block(x)[0], want, f"{gate} with every branch dropped")


def layers_of(part: Gated, depth: int = 1) -> nn.Module:
    """Return layers of attention and a feed-forward as they start, D = 64."""
    torch.manual_seed(0)
    site = Site(width=64, heads=4, causal=True)
    blocks = [part.build(site, Softmax().build(site), Mlp().build(site), LayerNorm()) for _ in range(depth)]
    return nn.Sequential(*map(_Stateless, blocks)).double()


class _Stateless(nn.Module):
    """Leaves the state of a layer out."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)[0]
        return y


def change(part: Gated) -> float:
    """Return ‖layer(x) − x‖ / ‖x‖ of a layer as it starts."""
    x = tokens(width=64)
    with torch.no_grad():
        return float((layers_of(part)(x) - x).norm() / x.norm())


@pytest.mark.parametrize("gate", NEAR)
def test_starts_near_the_identity(gate: Any) -> None:
    """Gates that are shut by σ(−2) let a layer change x by about 1 − σ(2)² = 0.22; open ones by three times as much."""
    assert change(Gated(gate=gate)) < 0.3
    assert change(Gated(gate=gate, bias=0.0)) > 0.6


@pytest.mark.parametrize("gate", BIASED)
def test_the_larger_the_bias_the_nearer_to_the_identity(gate: Any) -> None:
    changes = [change(Gated(gate=gate, bias=bias)) for bias in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] < 2e-3


def gradient_of_input(part: Gated, depth: int) -> float:
    """Return the norm of the gradient of a random direction of the output, relative to that of the direction."""
    x, direction = tokens(width=64).requires_grad_(), tokens(width=64, seed=1)
    (gradient,) = torch.autograd.grad(layers_of(part, depth)(x), x, direction)
    return float(gradient.norm() / direction.norm())


@pytest.mark.parametrize("gate", BIASED)
@pytest.mark.parametrize("depth", [12, 48])
def test_gradients_reach_through_many_layers(gate: Any, depth: int) -> None:
    """The way through x passes on σ(2) of the gradient in every gate, or all of it, and the other adds little."""
    passed = float(torch.tensor(2.0).sigmoid()) ** (2 * depth)
    assert passed / 2 < gradient_of_input(Gated(gate=gate), depth) < 2


def test_without_a_bias_they_explode() -> None:
    assert gradient_of_input(Gated(gate="highway", bias=0.0), 48) > 100
    assert gradient_of_input(Gated(gate="input"), 48) > 100


@pytest.mark.parametrize("gate", GATES)
def test_every_layer_of_a_deep_model_learns(gate: str) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "width": 32, "depth": 14, "heads": 4}
    model = CausalLM(TransformerConfig(**sizes, residual=f"gated(gate={gate})", initializer_range=0.1)).double()
    ids = torch.randint(0, 11, (2, 20))
    model(ids, labels=ids).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, f"{gate}: no gradient for {name}"


@pytest.mark.parametrize("kind", members(Mixer), ids=lambda kind: kind.name())
def test_takes_every_mixer(kind: type[Mixer]) -> None:
    """In a model, in training with dropout and checkpoints, with padding, and in chunks where the mixer streams."""
    mixer = kind()
    head: Any = CausalLM if "causal" in mixer.abilities else MaskedLM
    torch.manual_seed(0)
    sizes = {"vocab_size": 11, "width": 24, "depth": 2, "heads": 3, "context_length": 64, "position": "none"}
    model = head(TransformerConfig(**sizes, mixer=mixer, residual="gated", ffn="glu", dropout=0.2)).double()
    ids = torch.randint(0, 11, (2, 13))
    model.train().gradient_checkpointing_enable()
    model(ids, labels=ids).loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    whole = model.eval()(ids).logits
    if "padding" in mixer.abilities:
        padded = torch.cat([torch.zeros(2, 3, dtype=torch.long), ids], 1)
        mask = torch.tensor([[0] * 3 + [1] * 13] * 2)
        assert_same(model(padded, attention_mask=mask).logits[:, 3:], whole, f"{mixer}, padded on the left")
    if model.streaming:
        first = model(ids[:, :5], use_cache=True)
        rest = model(ids[:, 5:], past_key_values=first.past_key_values)
        assert_same(torch.cat([first.logits, rest.logits], 1), whole, f"{mixer}, in two chunks")


@pytest.mark.parametrize("gate", BIASED)
@pytest.mark.parametrize(("option", "start"), [("", 2.0), (", bias=-1.5", -1.5)])
def test_biases_start_as_the_part_says_and_are_loaded(gate: str, option: str, start: float, tmp_path: Path) -> None:
    sizes = {"vocab_size": 11, "width": 24, "depth": 2, "heads": 3}
    model = CausalLM(TransformerConfig(**sizes, residual=f"gated(gate={gate}{option})", initializer_range=0.125))
    gates = [g for block in model.model.layers for g in (block.mixer_gate, block.ffn_gate)]
    for g in gates:
        assert g.bias.tolist() == [start] * 24
        assert all(p.std().item() == pytest.approx(0.125, rel=0.15) for n, p in g.named_parameters() if n != "bias")
    with torch.no_grad():
        gates[1].bias.add_(1.0)
    model.save_pretrained(tmp_path)
    loaded = CausalLM.from_pretrained(tmp_path)
    assert loaded.config.residual == model.config.residual
    assert loaded.model.layers[0].ffn_gate.bias.tolist() == [start + 1] * 24


@pytest.mark.parametrize(
    ("gate", "squares"), [("gru", 12), ("sigtanh", 4), ("input", 2), ("output", 2), ("highway", 2)]
)
def test_costs_as_documented(gate: str, squares: int) -> None:
    def model(residual: str) -> CausalLM:
        return CausalLM(TransformerConfig(vocab_size=11, width=D, depth=1, heads=3, residual=residual))

    gated, plain = model(f"gated(gate={gate})"), model("pre_norm")
    biases = 0 if gate == "input" else 2 * D
    assert gated.num_parameters() - plain.num_parameters() == squares * D * D + biases
    assert gated.flops_per_token(16) - plain.flops_per_token(16) == 2 * squares * D * D


def test_a_bias_that_does_not_exist_raises() -> None:
    with pytest.raises(ValueError, match=r"has no bias; leave out bias=1.0, or take gru or output"):
        Gated(gate="input", bias=1.0)
