"""Reversible wiring: the gradients of plain autograd, with the same randomness, at a memory independent of depth."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from formers.mixers import Linear, Lsh, Performer, Pool, Softmax
from formers.models import Transformer, TransformerConfig
from formers.norms import MaxNorm
from formers.residuals import Residual, Reversible
from formers.residuals.reversible import ReversibleBlock

SIZES = {"vocab_size": 11, "width": 24, "depth": 3, "heads": 3, "context_length": 128, "residual": Reversible()}


def gradients(model, through, ids, mask=None):
    """Output and gradients with one seed, with this way through the layers."""
    model.zero_grad()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reversible, "through", through)
        torch.manual_seed(5)
        y = model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        y.square().sum().backward()
    return {"output": y.detach()} | {name: p.grad for name, p in model.named_parameters()}


def agree(model, ids, mask=None):
    want = gradients(model, Residual.through, ids, mask)
    got = gradients(model, Reversible.through, ids, mask)
    for name, value in want.items():
        torch.testing.assert_close(got[name], value, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mixer", [Softmax(), Linear(), Performer(), Pool(), Lsh(chunk=8, buckets=4)], ids=str)
def test_gradients_are_the_plain_ones(mixer, causal):
    position = "sinusoidal()" if mixer == Pool() else "rotary()"
    config = TransformerConfig(**SIZES, mixer=mixer, causal=causal, position=position, dropout=0.2)
    mask = torch.ones(2, 40, dtype=torch.long)
    mask[0, :9] = 0
    agree(Transformer(config).double().train(), torch.randint(11, (2, 40)), mask)


def test_gradients_are_the_plain_ones_under_autocast():
    """In half precision both ways round, so they agree to that; without replaying autocast they differ by a dtype
    error."""
    model = Transformer(TransformerConfig(**SIZES, causal=True, norm=MaxNorm())).train()
    ids = torch.randint(11, (2, 40))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        want, got = (gradients(model, through, ids) for through in (Residual.through, Reversible.through))
    for name, value in want.items():
        off = float((got[name] - value).norm() / value.norm())
        assert off < 0.1, f"{name} is off by {off:.2f}"


def test_the_feed_forward_may_come_in_pieces(monkeypatch):
    monkeypatch.setattr("formers.residuals.reversible.FFN_TOKENS", 7)
    agree(Transformer(TransformerConfig(**SIZES, causal=True)).double().train(), torch.randint(11, (2, 40)))


def test_it_really_goes_back(monkeypatch):
    """With a mixer that lies the second time, gradients must change: they come from recomputation."""
    model, ids = Transformer(TransformerConfig(**SIZES, causal=True)).double(), torch.randint(11, (1, 9))
    want, calls, honest = gradients(model, Reversible.through, ids), [], ReversibleBlock.mix

    def lying(self, second, mask_bl, positions_bl):
        calls.append(1)
        return honest(self, second, mask_bl, positions_bl) * (2 if len(calls) > SIZES["depth"] else 1)

    monkeypatch.setattr(ReversibleBlock, "mix", lying)
    got = gradients(model, Reversible.through, ids)
    assert torch.equal(got["output"], want["output"])
    assert len(calls) == 2 * SIZES["depth"]
    assert not torch.allclose(got["embed_tokens.weight"], want["embed_tokens.weight"])


def test_frozen_layers_and_generation_state():
    model = Transformer(TransformerConfig(**SIZES, causal=True)).double()
    for p in model.layers[1].parameters():
        p.requires_grad_(False)
    agree_on = torch.randint(11, (1, 9))
    model(input_ids=agree_on, use_cache=False).last_hidden_state.sum().backward()
    assert model.layers[1].ffn.up_proj.weight.grad is None
    assert model.layers[0].ffn.up_proj.weight.grad is not None
    whole = model.eval()(input_ids=agree_on).last_hidden_state
    first = model(input_ids=agree_on[:, :5], use_cache=True)
    rest = model(input_ids=agree_on[:, 5:], past_key_values=first.past_key_values)
    torch.testing.assert_close(torch.cat([first.last_hidden_state, rest.last_hidden_state], 1), whole)


def peak(depth: int, residual: str) -> float:
    """Most bytes held at once during a training step, beyond the parameters and their gradients."""
    config = TransformerConfig(
        vocab_size=11, width=32, depth=depth, heads=2, causal=True, residual=residual, context_length=512
    )
    model, ids = Transformer(config).train(), torch.randint(11, (4, 512))
    model(input_ids=ids, use_cache=False).last_hidden_state.sum().backward()  # gradients exist from here on
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        model(input_ids=ids, use_cache=False).last_hidden_state.sum().backward()
    held = most = 0
    for event in run.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def test_memory_does_not_grow_with_depth():
    shallow, deep = peak(2, "reversible()"), peak(12, "reversible()")
    assert deep <= 1.3 * shallow, f"12 layers take {deep / shallow:.2f} times what 2 take"
    assert peak(12, "pre_norm()") > 3 * deep


def streams_and_weights(causal, dropout, mixer="linear()"):
    config = TransformerConfig(**SIZES, mixer=mixer, causal=causal, dropout=dropout)
    layers = Transformer(config).double().train(dropout > 0).layers
    x = torch.randn(2, 20, 48, dtype=torch.float64, requires_grad=True)
    weights = {name: p.detach().clone().mul_(1.1).requires_grad_() for name, p in layers.named_parameters()}
    return layers, x, weights


def output(through, layers, x, weights):
    """The sum of the sines of the streams, with weights that are put in for this pass alone."""

    class Run(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            return through(Reversible(), self.layers, x, None, None)

    torch.manual_seed(5)
    given = {f"layers.{name}": value for name, value in weights.items()}
    return torch.func.functional_call(Run(), given, (x,)).sin().sum()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("mixer", ["linear()", "lsh(chunk=8, buckets=4)"])
@pytest.mark.parametrize("causal", [True, False])
def test_three_orders_of_derivatives_are_the_plain_ones(mixer, causal, dropout):
    layers, x, weights = streams_and_weights(causal, dropout, mixer)

    def derivatives(through):
        found, value = [], output(through, layers, x, weights)
        for _ in range(3):
            gradients = torch.autograd.grad(value, [x, *weights.values()], create_graph=True)
            found.append(gradients)
            value = sum(g.tanh().sum() for g in gradients)
        return found

    for got, want in zip(derivatives(Reversible.through), derivatives(Residual.through), strict=True):
        torch.testing.assert_close(got, want)


def test_gradients_with_weights_of_one_pass_are_for_those():
    """The layers hold other weights again by the time of the backward pass."""
    layers, x, weights = streams_and_weights(causal=True, dropout=0.2)
    got, want = (
        torch.autograd.grad(output(through, layers, x, weights), [x, *weights.values()])
        for through in (Reversible.through, Residual.through)
    )
    torch.testing.assert_close(got, want)


def test_transforms_are_the_plain_ones():
    layers, x, weights = streams_and_weights(causal=True, dropout=0.0)
    x = x.detach()
    weights = {name: value.detach() for name, value in weights.items()}

    def results(through):
        def f(weights):
            return output(through, layers, x, weights)

        yield torch.func.grad(f)(weights)
        yield torch.func.jvp(f, (weights,), (weights,))
        yield torch.func.jvp(torch.func.grad(f), (weights,), (weights,))

    for got, want in zip(results(Reversible.through), results(Residual.through), strict=True):
        torch.testing.assert_close(got, want)
