"""Whole encoders against BERT's and FNet's, with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel, FNetConfig, FNetModel, LlamaConfig, LlamaModel

from formers import Transformer, TransformerConfig
from formers.ffn import Glu, Mlp
from formers.mixers import Fourier, Mixer, Softmax
from formers.models.backbone import Transformer as Backbone
from formers.norms import LayerNorm, RmsNorm
from formers.positions import NoPosition
from formers.residuals import PostNorm
from formers.testing import assert_same, padding_mask, tokens

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 40, "vocab_size": 11}


def encoder(mixer: Mixer, activation: Any) -> Backbone:
    config = TransformerConfig(
        vocab_size=11,
        width=24,
        depth=2,
        heads=3,
        mixer=mixer,
        position=NoPosition(),
        residual=PostNorm(),
        norm=LayerNorm(eps=1e-12),
        ffn=Mlp(expand=40 / 24, activation=activation),
        causal=False,
    )
    return Transformer(config).double().eval()


def unsettled(model: torch.nn.Module) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double().eval()


def renamed(weights: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Their weights under our names."""
    found = {}
    for name, tensor in weights.items():
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        found[name] = tensor
    return found


def load(ours: Backbone, weights: dict[str, Tensor]) -> None:
    missing = ours.load_state_dict(weights, strict=False)
    assert missing.missing_keys == ["embed_tokens.weight"]
    assert not missing.unexpected_keys


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "whole"])
def test_softmax_and_post_norm_are_bert(padded: bool) -> None:
    theirs = unsettled(BertModel(BertConfig(num_attention_heads=3, attn_implementation="sdpa", **SIZES)))
    ours = encoder(Softmax(bias=True), "gelu")
    names = {
        "attention.self.query": "mixer.q_proj",
        "attention.self.key": "mixer.k_proj",
        "attention.self.value": "mixer.v_proj",
        "attention.output.dense": "mixer.o_proj",
        "attention.output.LayerNorm": "mixer_norm",
        "intermediate.dense": "ffn.up_proj",
        "output.dense": "ffn.down_proj",
        "output.LayerNorm": "ffn_norm",
        "layer.": "layers.",
    }
    load(ours, renamed(theirs.encoder.state_dict(), names))
    mask = padding_mask() if padded else torch.ones(2, 77, dtype=torch.bool)
    with torch.no_grad():
        want = theirs(inputs_embeds=tokens(), attention_mask=mask.long()).last_hidden_state
        embedded = theirs.embeddings(inputs_embeds=tokens())
        got = ours(inputs_embeds=embedded, attention_mask=mask.long()).last_hidden_state
    assert_same(got[mask], want[mask], "hidden states")


def test_fourier_and_post_norm_are_fnet() -> None:
    theirs = unsettled(FNetModel(FNetConfig(use_tpu_fourier_optimizations=False, **SIZES)))
    ours = encoder(Fourier(), "gelu_tanh")
    names = {
        "fourier.output.LayerNorm": "mixer_norm",
        "intermediate.dense": "ffn.up_proj",
        "output.dense": "ffn.down_proj",
        "output.LayerNorm": "ffn_norm",
        "layer.": "layers.",
    }
    load(ours, renamed(theirs.encoder.state_dict(), names))
    with torch.no_grad():
        embedded = theirs.embeddings(inputs_embeds=tokens())
        want = theirs.encoder(embedded).last_hidden_state
        got = ours(inputs_embeds=embedded).last_hidden_state
    assert_same(got, want, "hidden states")


def test_packed_documents_are_llamas() -> None:
    """With the positions that `DataCollatorWithFlattening` makes, which both read as boundaries."""
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "intermediate_size": 40, "vocab_size": 11}
    heads = {"num_attention_heads": 3, "num_key_value_heads": 3}
    theirs = unsettled(LlamaModel(LlamaConfig(**sizes, **heads, rms_norm_eps=1e-6, attn_implementation="sdpa")))
    choices = {"position": "rotary()", "norm": RmsNorm(eps=1e-6), "ffn": Glu(expand=40 / 24)}
    ours = Transformer(TransformerConfig(vocab_size=11, width=24, depth=2, heads=3, causal=True, **choices)).double()
    names = {
        "self_attn.": "mixer.",
        "mlp.": "ffn.",
        "input_layernorm": "mixer_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    ours.load_state_dict(renamed(theirs.state_dict(), names))
    positions = torch.cat([torch.arange(n) for n in (9, 1, 13, 10)]).unsqueeze(0)
    ids = torch.randint(11, positions.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = theirs(ids, position_ids=positions, use_cache=False).last_hidden_state
        got = ours.eval()(ids, position_ids=positions).last_hidden_state
    assert_same(got, want, "hidden states", 1e-5)  # Llama's rotations are float32
