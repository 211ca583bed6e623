"""Training: checkpointing, autocast, half precision, the compiler."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, Unsupported
from formers.catalogue import members
from formers.ffn import Mlp
from formers.mixers import AdaptiveSpan, Dense, Linear, Mixer, Performer, Rfa, Routing, Softmax
from formers.norms import MaxNorm
from formers.positions import NoPosition
from formers.residuals import Danet, Residual
from formers.testing import assert_same, assert_zero

MIXERS = [kind() for kind in members(Mixer)]
EVERY_MIXER = pytest.mark.parametrize("mixer", MIXERS, ids=str)


def model_of(config: Any, mixer: Mixer, **choices: Any) -> Any:
    head = CausalLM if "causal" in mixer.abilities else MaskedLM
    torch.manual_seed(0)
    return head(config(mixer=mixer, **{"position": NoPosition()} | choices))


def gradients(model: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(3)
    model(ids, labels=ids).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@EVERY_MIXER
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_is_plain(config: Any, ids: torch.Tensor, mixer: Mixer, reentrant: bool) -> None:
    want = gradients(model_of(config, mixer, dropout=0.2).double().train(), ids)
    model = model_of(config, mixer, dropout=0.2).double().train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant and isinstance(mixer, AdaptiveSpan):
        with pytest.raises(Unsupported, match="use_reentrant=False"):  # its penalty would have no gradient
            gradients(model, ids)
        return
    for name, got in gradients(model, ids).items():
        assert_zero(got - want[name], f"difference that checkpointing makes to the gradient of {name}")


@pytest.mark.parametrize("residual", [kind() for kind in members(Residual)], ids=str)
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_is_plain_in_every_wiring(
    config: Any, ids: torch.Tensor, residual: Residual, reentrant: bool
) -> None:
    want = gradients(model_of(config, Softmax(), dropout=0.2, residual=residual).double().train(), ids)
    model = model_of(config, Softmax(), dropout=0.2, residual=residual).double().train()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    for name, got in gradients(model, ids).items():
        assert_same(got, want[name], f"gradient of {name} with checkpointing")


def test_states_keep_their_gradients_or_say_that_they_cannot(config: Any, ids: torch.Tensor) -> None:
    model = model_of(config, Linear()).double().train()
    found = []
    for options in (None, {"use_reentrant": False}):
        if options is not None:
            model.gradient_checkpointing_enable(options)
        model.zero_grad()
        past = model(ids[:, :6], use_cache=True).past_key_values
        model(ids[:, 6:], past_key_values=past, labels=ids[:, 6:]).loss.backward()
        found.append(model.model.layers[0].mixer.k_proj.weight.grad.clone())
    assert_same(found[1], found[0], "gradient through the state")
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(Unsupported, match=r"no gradients through states.*use_reentrant=False"):
        model(ids, use_cache=True)


@EVERY_MIXER
def test_every_parameter_of_a_model_trains(config: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = model_of(config, mixer).train()
    longer = ids.repeat(1, 1 + 40 // ids.shape[1])  # than the windows that exact attention is for
    assert all(float(g.abs().max()) > 0 for g in gradients(model, longer).values())


@EVERY_MIXER
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_finite_and_near(config: Any, ids: torch.Tensor, mixer: Mixer, dtype: torch.dtype) -> None:
    model = model_of(config, mixer, initializer_range=0.02).train()
    want = model(ids, labels=ids).loss
    with torch.autocast("cpu", dtype=dtype):
        loss = model(ids, labels=ids).loss
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert_same(loss, want, "loss under autocast", 8 * torch.finfo(dtype).eps * want.item())


@pytest.mark.parametrize("mixer", [Softmax(), Linear(), Dense()], ids=str)
def test_a_model_learns(config: Any, mixer: Mixer) -> None:
    model = model_of(config, mixer, position="learned", initializer_range=0.02).train()
    ids = torch.arange(12).repeat(4, 2)  # 0 … 11 twice: the next token is a function of this one
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = model(ids, labels=ids).loss.item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 < 3 < first


SLOW = [pytest.param(mixer, marks=pytest.mark.slow) for mixer in MIXERS if mixer != Softmax()]


@pytest.mark.parametrize("mixer", [Softmax(), *SLOW], ids=str)
def test_compiled_is_eager(config: Any, ids: torch.Tensor, mixer: Any) -> None:
    """In one graph; but what counts its draws, or moves centroids, between steps does so between two graphs."""
    torch.compiler.reset()
    model = model_of(config, mixer, depth=1).double().train()
    same = copy.deepcopy(model)  # a step may draw, count and move centroids
    want = gradients(model, ids)
    whole = not isinstance(mixer, (Performer, Rfa, Routing))
    compiled = torch.compile(same, fullgraph=whole, options={"fallback_random": True})  # the draws of eager mode
    for name, gradient in gradients(compiled, ids).items():
        assert_same(gradient, want[name.removeprefix("_orig_mod.")], f"gradient of {name}", 1e-10)


def danet(config: Any, depth: int) -> MaskedLM:
    """A deep DANet whose weights, as in training, are not small: N(0, 1/D)."""
    torch.manual_seed(0)
    sizes = {
        "width": 64,
        "heads": 1,
        "depth": depth,
        "initializer_range": 64**-0.5,
        "context_length": 256,
        "vocab_size": 29,
    }
    ffn = Mlp(activation="relu", bias=False)
    return MaskedLM(
        config(mixer=Dense(init=8.0), position=NoPosition(), residual=Danet(), norm=MaxNorm(), ffn=ffn, **sizes)
    )


def worst(model: MaskedLM, dtype: torch.dtype) -> tuple[bool, bool]:
    """Whether loss and gradients are finite in a dtype."""
    ids = torch.randint(0, 29, (2, 256), generator=torch.Generator().manual_seed(0))
    model = model.to(dtype)
    loss = model(ids, labels=ids).loss
    loss.backward()
    return bool(torch.isfinite(loss)), all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_a_deep_danet_is_finite_in_float16(config: Any) -> None:
    assert worst(danet(config, 24), torch.float16) == (True, True)
