"""Models of text as `formers eval` is given them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from formers.cli.evaluated_model import open_text_model
from formers.evaluation.coder import AlphabetCoder, TokenizerCoder
from formers.models import CausalLM, TransformerConfig
from formers.tasks.characters import Characters
from formers.tasks.corpus.tokenizer_kinds import character_tokenizer

OPTIONS: dict[str, Any] = {"length": None, "batch": 2, "device": "cpu", "precision": "fp32"}


def trained(folder: Path, **choices: str) -> Path:
    config = TransformerConfig(vocab_size=5, width=16, depth=1, heads=2, context_length=12, **choices)
    CausalLM(config).save_pretrained(folder)
    return folder


def test_a_model_of_characters(tmp_path: Path) -> None:
    Characters("abcd\n").save(trained(tmp_path / "models" / "one"))
    model, place = open_text_model(str(tmp_path), **OPTIONS)
    assert isinstance(model.coder, AlphabetCoder)
    assert (place, model.length, model.coder.start, model.coder.end) == (tmp_path / "models" / "one", 12, 4, None)
    assert model.coder.decode(model.coder.encode("abba")) == "abba"
    with pytest.raises(ValueError, match=r"does not know the characters \['z'\]"):
        model.coder.encode("az")


def test_a_pretrained_model_and_another_attention_in_it(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=29, max_position_embeddings=64, **sizes)).save_pretrained(tmp_path)
    character_tokenizer("abcd").save_pretrained(tmp_path)
    model, _ = open_text_model(str(tmp_path), "window(4)", **OPTIONS | {"precision": "bf16", "length": 32})
    assert isinstance(model.coder, TokenizerCoder)
    assert (model.length, model.coder.encode("abba"), model.coder.start) == (32, [0, 1, 1, 0], 4)
    assert model.model.dtype == torch.bfloat16
    assert model.model.config._attn_implementation.startswith("formers:")
    with pytest.raises(ValueError, match="tokenizer cannot read 'xyz'"):
        model.coder.encode("xyz")


def test_another_attention_in_some_layers(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "intermediate_size": 24, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=29, max_position_embeddings=64, **sizes)).save_pretrained(tmp_path)
    character_tokenizer("abcd").save_pretrained(tmp_path)
    model, _ = open_text_model(str(tmp_path), "window(4)", layers="0,-1", **OPTIONS)
    some, _ = open_text_model(str(tmp_path), "window(4)", **OPTIONS)
    name, every = (one.model.config._attn_implementation for one in (model, some))
    assert (name.count("window(4)"), name.count("softmax"), every.count("window(4)")) == (2, 1, 1)
    with pytest.raises(ValueError, match="there is no layer 3"):
        open_text_model(str(tmp_path), "window(4)", layers="3", **OPTIONS)
    with pytest.raises(ValueError, match="--layers 3 are those that take --mixer"):
        open_text_model(str(tmp_path), layers="3", **OPTIONS)


@pytest.mark.parametrize(("layers", "taken"), [(None, "sparse sparse sparse"), ("0,-1", "sparse softmax sparse")])
def test_another_mixer_in_a_model_of_this_library(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layers: str | None, taken: str
) -> None:
    config = TransformerConfig(vocab_size=5, width=16, depth=3, heads=2, context_length=12, position="rotary")
    own = CausalLM(config).eval()
    own.save_pretrained(tmp_path)
    Characters("abcd\n").save(tmp_path)
    capsys.readouterr()
    model, _ = open_text_model(str(tmp_path), "window(4)", layers=layers, **OPTIONS)
    assert [model.model.config.mixer_at(layer).name() for layer in range(3)] == taken.split()
    ids = torch.arange(12)[None] % 5
    with torch.no_grad():
        before, after = (one(input_ids=ids).logits for one in (own, model.model))
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-5), "a window is the same while it holds all"
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-5)
    assert capsys.readouterr().err == ""


def test_weights_that_another_mixer_has_no_use_for_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Characters("abcd\n").save(trained(tmp_path, mixer="softmax", position="none"))
    open_text_model(str(tmp_path), "pool", **OPTIONS)
    assert "dropped from the given model" in capsys.readouterr().err


def test_a_token_that_begins_each_text_is_set_before_a_whole_one(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = character_tokenizer("abcd")
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    coder = TokenizerCoder(tokenizer)
    assert (coder.start, coder.encode("ab")) == (5, [0, 1])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 5)])
    coder = TokenizerCoder(tokenizer)
    assert (coder.encode("ab"), coder.encode("ab", whole=False), coder.encode("<s>ab")) == (
        [5, 0, 1],
        [0, 1],
        [5, 0, 1],
    )


@pytest.mark.parametrize(
    ("choices", "options", "said"),
    [
        ({}, {}, "holds a model and no tokenizer"),
        ({}, {"mixer": "linear(feature=hedgehog)"}, r"not trained with linear(.|\n)*formers repair"),
        ({"position": "learned"}, {"length": 13}, "beyond the 12 positions"),
        ({}, {"precision": "fp8"}, "--precision"),
        ({}, {"device": "tpu"}, "auto, cpu or cuda"),
        ({}, {"batch": 0}, "batch at least 1"),
    ],
)
def test_what_cannot_be_asked_is_said(
    tmp_path: Path, choices: dict[str, str], options: dict[str, Any], said: str
) -> None:
    trained(tmp_path, **choices)
    if options:
        Characters("abcd\n").save(tmp_path)
    with pytest.raises(ValueError, match=said):
        open_text_model(str(tmp_path), **OPTIONS | options)
