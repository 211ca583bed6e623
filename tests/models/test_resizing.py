"""Room for another number of tokens, in every table of a model and in every configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, PixelConfig, PixelLM, Seq2SeqConfig, Seq2SeqLM, SequenceClassifier, Transformer
from formers.models.pretrained import FormersModel
from formers.part import Unsupported

OLD = 31
"""A size that nothing else in the models has."""


def seq2seq(**changes: Any) -> Any:
    sizes = {"vocab_size": OLD, "width": 24, "depth": 2, "encoder_depth": 2, "heads": 3, "context_length": 64}
    return Seq2SeqLM(Seq2SeqConfig(**sizes, **changes))


MODELS: dict[str, Callable[[Any], Any]] = {
    "backbone": lambda config: Transformer(config(vocab_size=OLD)),
    "causal": lambda config: CausalLM(config(vocab_size=OLD)),
    "untied": lambda config: CausalLM(config(vocab_size=OLD, tie_word_embeddings=False)),
    "exits": lambda config: CausalLM(config(vocab_size=OLD, depth=3, computation="early_exit(heads=own)")),
    "exits, untied": lambda config: CausalLM(
        config(vocab_size=OLD, depth=3, computation="early_exit(heads=own)", tie_word_embeddings=False)
    ),
    "masked": lambda config: MaskedLM(
        config(vocab_size=OLD, pooler="tanh", head_transform="gelu", head_bias=True, token_types=2)
    ),
    "classifier": lambda config: SequenceClassifier(config(vocab_size=OLD, pooler="tanh")),
    "seq2seq": lambda config: seq2seq(),
    "seq2seq, untied": lambda config: seq2seq(tie_word_embeddings=False, head_bias=True),
    "its backbone, untied": lambda config: seq2seq(tie_word_embeddings=False).model,
}


def run(model: Any, ids: torch.Tensor) -> Any:
    """The outputs for tokens that the model had from the start, and of language models, for these alone."""
    of_decoder = {"decoder_input_ids": ids.flip(1)} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        out = model(ids, **of_decoder)
    return out.logits[..., :OLD] if "logits" in out else out.last_hidden_state


@pytest.mark.parametrize("size", [OLD + 9, OLD - 2])
@pytest.mark.parametrize("name", MODELS)
def test_what_was_known_stays(name: str, size: int, config: Any, ids: torch.Tensor, tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = MODELS[name](config).eval()
    before = run(model, ids)[..., :size]
    model.resize_token_embeddings(size)
    torch.testing.assert_close(run(model, ids)[..., :size], before)
    left = [key for key, tensor in model.state_dict().items() if OLD in tensor.shape]
    assert not left
    assert {one.config.vocab_size for one in model.modules() if isinstance(one, FormersModel)} == {size}
    for one in (model, model.base_model):
        one.save_pretrained(tmp_path)
        loaded = type(one).from_pretrained(tmp_path).eval()
        torch.testing.assert_close(run(loaded, ids), run(one, ids))


@pytest.mark.parametrize("name", [name for name in MODELS if "exits" in name or "seq2seq" in name])
def test_new_tokens_train(name: str, config: Any) -> None:
    model = MODELS[name](config).train()
    model.resize_token_embeddings(OLD + 9)
    new = torch.arange(OLD, OLD + 9)[None]
    model(new, labels=new).loss.backward()
    tables = [p for p in model.parameters() if OLD + 9 in p.shape]
    assert all(p.grad is not None and bool(p.grad[OLD:].any()) for p in tables)


def test_frozen_tables_stay_frozen() -> None:
    model = seq2seq(tie_word_embeddings=False)
    model.requires_grad_(False).resize_token_embeddings(OLD + 1)
    assert not any(p.requires_grad for p in model.parameters())


def test_tied_tables_stay_one() -> None:
    model = seq2seq()
    model.resize_token_embeddings(OLD + 1)
    tables = (model.model.encoder.embed_tokens, model.model.decoder.embed_tokens, model.lm_head)
    assert len({table.weight.data_ptr() for table in tables}) == 1


def test_grey_values_are_no_words() -> None:
    model = PixelLM(PixelConfig(width=32, depth=1, heads=2, context_length=784))
    with pytest.raises(Unsupported, match="256 grey values"):
        model.resize_token_embeddings(300)
