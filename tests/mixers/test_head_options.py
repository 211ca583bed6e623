"""Heads of a width of their own, and norms on their queries and keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, Seq2SeqConfig, Seq2SeqLM, TransformerConfig, Unsupported
from formers.catalogue import CATALOGUE
from formers.mixers import Mixer
from formers.mixers.qkv import HeadMixer
from formers.models import convert_weights
from formers.part import Site
from formers.testing import assert_same

SIZES = {"vocab_size": 11, "width": 24, "heads": 3, "depth": 2, "context_length": 64, "initializer_range": 0.3}
OWN = {"head_width": 6, "qk_norm": "rms_norm()"}
IDS = torch.randint(11, (2, 20), generator=torch.Generator().manual_seed(0))


def model(kind: Any = CausalLM, **choices: Any) -> Any:
    torch.manual_seed(0)
    return kind(TransformerConfig(**SIZES | OWN | choices)).double().eval()


@torch.no_grad()
def test_softmax_by_hand() -> None:
    made = model(position="none", mixer="softmax(kv_heads=1)")
    mixer = made.model.layers[0].mixer
    torch.nn.init.normal_(mixer.q_norm.weight)
    x = torch.randn(2, 9, 24, dtype=torch.float64)
    q = torch.nn.functional.rms_norm((x @ mixer.q_proj.weight.T).view(2, 9, 3, 6), (6,), mixer.q_norm.weight, 1e-6)
    k = torch.nn.functional.rms_norm((x @ mixer.k_proj.weight.T).view(2, 9, 1, 6), (6,), mixer.k_norm.weight, 1e-6)
    v = (x @ mixer.v_proj.weight.T).view(2, 9, 1, 6).expand(2, 9, 3, 6)
    scores = torch.einsum("blhk,bshk->bhls", q, k.expand_as(q)) / 6**0.5
    weights = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf).softmax(-1)
    want = torch.einsum("bhls,bshk->blhk", weights, v).flatten(2) @ mixer.o_proj.weight.T
    assert mixer.o_proj.weight.shape == (24, 18)
    assert_same(mixer(x)[0], want, "softmax")


@pytest.mark.parametrize(
    "mixer",
    [
        "sparse(pattern=window(64))",
        "longformer(window=[64])",
        "longformer(window=[64], tokens=[0, 7])",
        "bigbird(block=64, random=0)",
        "blockwise_attention(blocks=1)",
    ],
)
@pytest.mark.parametrize("position", ["rotary()", "alibi()", "xl()", "none()"])
@torch.no_grad()
def test_a_window_of_everything_is_softmax(mixer: str, position: str) -> None:
    dense = model(MaskedLM, position=position)
    made = convert_weights(dense, dense.config.swap(mixer=mixer), strict=True).model
    assert_same(made(IDS).logits, dense(IDS).logits, mixer)


@pytest.mark.parametrize(
    "mixer", ["softmax()", "sparse(pattern=window(5))", "linear()", "performer(features=8)", "rfa()"]
)
def test_generation_equals_recomputation(mixer: str) -> None:
    made = model(mixer=mixer)
    options = {"max_new_tokens": 6, "do_sample": False}
    assert torch.equal(made.generate(IDS, **options), made.generate(IDS, use_cache=False, **options))


@pytest.mark.parametrize("mixer", [kind() for kind in CATALOGUE if issubclass(kind, Mixer)], ids=str)
def test_every_mixer_follows_or_refuses(mixer: Mixer) -> None:
    site = Site(width=24, heads=3, causal="bidirectional" not in mixer.abilities, context_length=64, layers=2)
    own = Site(**{**vars(site), "key_width": 6, "qk_norm": TransformerConfig(**OWN).qk_norm})
    usual: Any = mixer.build(site)
    if not isinstance(usual, HeadMixer):
        return  # without queries and keys, there is nothing to follow
    if not usual.has_usual_projections:
        with pytest.raises(Unsupported, match=r"head_width=6 nor qk_norm=rms_norm\(\)"):
            mixer.build(own)
        return
    built: Any = mixer.build(own)
    assert built.q_proj.weight.shape == (18, 24)
    assert built(torch.randn(2, 20, 24))[0].isfinite().all()


BIASED = [kind() for kind in CATALOGUE if issubclass(kind, Mixer) and hasattr(kind(), "bias")]


@pytest.mark.parametrize("mixer", BIASED, ids=str)
@torch.no_grad()
def test_biases_of_zero_change_nothing_and_others_do(mixer: Any) -> None:
    site = Site(width=24, heads=3, causal="bidirectional" not in mixer.abilities, context_length=64, layers=2)
    torch.manual_seed(0)
    plain = mixer.build(site).eval()
    biased = mixer.swap(bias=True).build(site).eval()
    names = {f"{letter}_proj.bias" for letter in "qkvo"}
    missing, unexpected = biased.load_state_dict(plain.state_dict(), strict=False)
    assert names <= set(missing)
    assert not unexpected
    biases = [biased.get_parameter(name) for name in missing]
    x = torch.randn(2, 20, 24)
    for bias in biases:
        bias.zero_()
    assert torch.equal(biased(x)[0], plain(x)[0])
    biased.v_proj.bias.fill_(1.0)
    assert not torch.allclose(biased(x)[0], plain(x)[0])


@pytest.mark.parametrize("mixer", ["softmax()", "sparse(pattern=window(5))", "linear()", "longformer(window=[8])"])
def test_norms_run_under_autocast(mixer: str) -> None:
    made = model(MaskedLM if "longformer" in mixer else CausalLM, mixer=mixer).float().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = made(IDS, labels=IDS).loss
    loss.backward()
    assert made.model.layers[0].mixer.q_norm.weight.grad.isfinite().all()
    half = made.bfloat16().eval()
    assert half(IDS).logits.dtype == torch.bfloat16


def test_cross_attention_follows() -> None:
    torch.manual_seed(0)
    made = Seq2SeqLM(Seq2SeqConfig(**SIZES | OWN, encoder_depth=1)).eval()
    assert [p.shape for n, p in made.named_parameters() if n.endswith("cross.q_norm.weight")] == 2 * [torch.Size([6])]
    with torch.autocast("cpu", torch.bfloat16):
        assert made(IDS, labels=IDS).loss.isfinite()


def test_what_has_no_heads_says_so() -> None:
    with pytest.raises(Unsupported, match=r"pool\(\) has no heads that head_width=6 and qk_norm=rms_norm\(\)"):
        model(MaskedLM, mixer="pool()", position="learned()")
    model(MaskedLM, mixer=["pool()", "softmax()"], position="learned()")
    with pytest.raises(ValueError, match="head_width must be a whole number"):
        model(head_width=0)
    assert not {"head_width", "qk_norm"} & TransformerConfig(**SIZES).to_dict().keys()
