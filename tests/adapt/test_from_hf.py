"""Pretrained models as models of this library, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    BertConfig,
    BertForNextSentencePrediction,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from formers import CausalLM
from formers.adapt import from_hf, to_hf
from formers.adapt.same_outputs import check_same_outputs
from formers.models import convert_weights
from formers.part import Unsupported
from formers.testing.compare import assert_same

from .families import CONVERTED, DEAF, DECODERS, GROUPED, HEADS, SIZES, VOCABULARY, made

FLOAT32 = 1e-5
"""Rotations are float32 in Hugging Face's Llama, also where weights are float64."""


@pytest.mark.parametrize("family", CONVERTED)
def test_a_model_is_the_same_function_here(family: str) -> None:
    theirs = made(CONVERTED[family])
    ours = from_hf(theirs)
    ids = torch.randint(3, VOCABULARY, (3, 30), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    ids = ids.masked_fill(mask == 0, theirs.config.pad_token_id or 0)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if getattr(theirs.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = (torch.arange(30) > 11).long().expand(3, -1)
    with torch.no_grad():
        want, got = (model(**inputs)[0] for model in (theirs, ours))
    real = mask.bool() if want.shape[:2] == mask.shape else slice(None)
    assert_same(got[real], want[real], family, FLOAT32 * float(want.abs().max()))


@pytest.mark.parametrize("family", ["bert masked", "bert tokens", "roberta sequences", "distilbert sequences", "qwen3"])
def test_losses_and_gradients_are_theirs(family: str) -> None:
    theirs = made(CONVERTED[family])
    ours = from_hf(theirs)
    ids = torch.randint(3, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, 1]) if "sequences" in family else ids % 3 if "tokens" in family else ids.clone()
    if "masked" in family:
        labels[:, ::2] = -100
    losses = [model(input_ids=ids, labels=labels).loss for model in (theirs, ours)]
    for loss in losses:
        loss.backward()
    want, got = (model.get_input_embeddings().weight.grad for model in (theirs, ours))
    assert_same(losses[1], losses[0], "loss", FLOAT32)
    assert_same(got, want, "gradient", FLOAT32 * float(want.abs().max()))


@pytest.mark.parametrize("family", CONVERTED)
def test_the_way_back_restores_every_weight(family: str, tmp_path: Path) -> None:
    theirs = made(CONVERTED[family])
    back = to_hf(from_hf(theirs), theirs.config)
    assert type(back) is type(theirs)
    for name, weight in theirs.state_dict().items():
        if family == "bert untied" and name == "cls.predictions.bias":
            continue  # nothing reads it where it is not tied to the decoder's
        assert torch.equal(back.state_dict()[name], weight), name
    back.save_pretrained(tmp_path)
    assert check_same_outputs(type(theirs).from_pretrained(tmp_path).double(), from_hf(theirs)) < FLOAT32


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "mistral, window", "qwen2, windows", "phi3"])
def test_generation_is_theirs(family: str) -> None:
    theirs = made(CONVERTED[family])
    ids = torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    options = {"attention_mask": mask, "max_new_tokens": 20, "do_sample": False, "pad_token_id": 0, "eos_token_id": -1}
    assert torch.equal(from_hf(theirs).generate(ids, **options), theirs.generate(ids, **options))


def test_a_converted_model_takes_another_mixer_and_is_saved(tmp_path: Path) -> None:
    ours = from_hf(made(DECODERS["llama"]))
    window = convert_weights(ours, ours.config.swap(mixer="sparse(pattern=window(100), kv_heads=2)")).model
    ids = torch.arange(3, 23)[None]
    with torch.no_grad():
        assert_same(window(ids).logits, ours(ids).logits, "a window over everything", FLOAT32)
    window.save_pretrained(tmp_path)
    assert_same(CausalLM.from_pretrained(tmp_path).double()(ids).logits, window(ids).logits, "loaded", FLOAT32)
    with pytest.raises(Unsupported, match="would compute something else"):
        to_hf(window, made(DECODERS["llama"]).config)


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(
        Unsupported, match=r"type 'bloom' are not known here; known: llama, mistral.*It has queries, keys"
    ):
        from_hf(made(DEAF["bloom"]))
    with pytest.raises(Unsupported, match=r"'fnet' are not known.*convert a BERT to fourier\(\) instead"):
        from_hf(made(DEAF["fnet"]))
    with pytest.raises(
        Unsupported, match=r"BertForNextSentencePrediction has a head.*known of its family: ForMaskedLM"
    ):
        from_hf(made(lambda: BertForNextSentencePrediction(BertConfig(**SIZES, **HEADS))))
    with pytest.raises(Unsupported, match=r"phi3: resid_pdrop=0.1 \(dropout of one place alone\) has no counterpart"):
        from_hf(made(lambda: Phi3ForCausalLM(Phi3Config(**GROUPED, pad_token_id=0, resid_pdrop=0.1))))
    with pytest.raises(Unsupported, match=r"no way back to 'bloom'; known: llama"):
        to_hf(from_hf(made(CONVERTED["bert"])), AutoConfig.for_model("bloom"))


def test_code_of_its_own_and_foreign_weights_are_refused() -> None:
    class Own(LlamaForCausalLM):
        pass

    with pytest.raises(Unsupported, match="code of its own"):
        from_hf(Own(LlamaConfig(**GROUPED)))
    more = made(DECODERS["llama"])
    more.model.layers[0].extra = torch.nn.Linear(2, 2)
    with pytest.raises(Unsupported, match=r"layers\.0\.extra\.weight"):
        from_hf(more)


def test_weights_that_are_no_plain_numbers_are_refused() -> None:
    for dtype in (torch.int8, torch.uint8, torch.float8_e4m3fn):
        quantised = made(DECODERS["llama"])
        weight = quantised.model.layers[0].mlp.up_proj.weight.data
        quantised.model.layers[0].mlp.up_proj.weight = torch.nn.Parameter(weight.to(dtype), requires_grad=False)
        with pytest.raises(Unsupported, match="quantised weights, which cannot be changed; load it dequantised"):
            from_hf(quantised)
    dequantised = made(DECODERS["llama"])
    dequantised.is_quantized = True  # as transformers leaves it on a model from a GGUF file
    assert isinstance(from_hf(dequantised), CausalLM)
    with pytest.raises(Unsupported, match="not in memory"):
        from_hf(made(DECODERS["llama"]).to("meta"))


def test_tied_weights_are_tied_here_too() -> None:
    theirs = made(CONVERTED["llama tied, biased"])
    ours = from_hf(theirs)
    assert ours.lm_head.weight is ours.model.embed_tokens.weight
    theirs.lm_head.weight = torch.nn.Parameter(theirs.lm_head.weight.detach() + 1)
    with pytest.raises(ValueError, match=r"ties its output projection.*set config.tie_word_embeddings=False"):
        from_hf(theirs)
    theirs.config.tie_word_embeddings = False
    assert from_hf(theirs).lm_head.weight.equal(theirs.lm_head.weight)


def test_a_family_that_computes_something_else_is_not_believed() -> None:
    model = made(DECODERS["llama"])
    for layer in model.model.layers:
        layer.self_attn.scaling = 0.1  # as a model whose configuration does not tell all
    with pytest.raises(ValueError, match="not quite what is known here"):
        from_hf(model)
