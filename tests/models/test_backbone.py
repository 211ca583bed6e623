"""The backbone's inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import (
    CausalLM,
    DecisionConfig,
    DecisionTransformer,
    MaskedLM,
    PixelConfig,
    PixelLM,
    Seq2SeqConfig,
    Seq2SeqLM,
    SequenceClassifier,
    TokenClassifier,
    Transformer,
)

INPUT_POSITIONS = ("sinusoidal(how=concatenate, width=8)", "grid(rows=8, columns=8, how=concatenate)", "sinusoidal()")


def test_ids_or_embeddings(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(ids, inputs_embeds=model.get_input_embeddings()(ids))


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [
        ("input_ids", torch.arange(5), ValueError, r"has shape \(5,\); expected \(batch, length\).*input_ids\[None\]"),
        ("input_ids", torch.ones(1, 2, 5).long(), ValueError, r"has shape \(1, 2, 5\); expected \(batch, length\)$"),
        ("input_ids", torch.rand(1, 5), TypeError, r"of torch\.int64, but a tensor of torch\.float32 was given"),
        ("input_ids", [[1, 2]], TypeError, "but a list was given"),
        ("inputs_embeds", torch.rand(1, 5, 7), ValueError, r"has shape \(1, 5, 7\); expected .* with width 24"),
        ("inputs_embeds", torch.rand(5, 24), ValueError, r"has shape \(5, 24\); expected \(batch, length, width\)"),
    ],
)
def test_what_is_no_batch_of_tokens_is_named(
    causal_lm: Any, name: str, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"{name} .*{message}"):
        causal_lm()(**{name: given})


@pytest.mark.parametrize("position", INPUT_POSITIONS)
@pytest.mark.parametrize("head", [Transformer, CausalLM, MaskedLM, SequenceClassifier, TokenClassifier])
def test_own_embeddings_are_the_tokens(head: Any, position: str, config: Any, ids: torch.Tensor) -> None:
    model = head(config(position=position, token_types=2, tie_word_embeddings=False)).eval()
    with torch.no_grad():
        assert torch.equal(model(inputs_embeds=model.get_input_embeddings()(ids))[0], model(ids)[0])


@pytest.mark.parametrize("position", INPUT_POSITIONS)
def test_own_embeddings_of_an_encoder_decoder(position: str, ids: torch.Tensor) -> None:
    sizes = {"vocab_size": 29, "width": 24, "depth": 1, "encoder_depth": 1, "heads": 3, "context_length": 64}
    model = Seq2SeqLM(Seq2SeqConfig(**sizes, position=position, tie_word_embeddings=False)).eval()
    embedded = {
        "inputs_embeds": model.model.encoder.embed_tokens(ids),
        "decoder_inputs_embeds": model.model.decoder.embed_tokens(ids),
    }
    assert torch.equal(model(**embedded).logits, model(ids, decoder_input_ids=ids).logits)


def test_own_embeddings_of_pixels() -> None:
    model = PixelLM(PixelConfig(width=32, depth=1, heads=2, context_length=784)).eval()
    pixels = torch.randint(0, 256, (2, 9))
    assert torch.equal(model(inputs_embeds=model.get_input_embeddings()(pixels)).logits, model(pixels).logits)


@pytest.mark.parametrize("position", INPUT_POSITIONS)
def test_decisions_with_any_position_on_the_input(position: str) -> None:
    sizes = {"width": 24, "depth": 1, "heads": 3, "context_length": 60, "state_size": 4, "action_size": 2}
    model = DecisionTransformer(DecisionConfig(**sizes, position=position))
    steps = torch.arange(5)[None]
    out = model(torch.randn(1, 5, 4), torch.zeros_like(steps), steps, torch.zeros(1, 5), labels=torch.ones_like(steps))
    out.loss.backward()
    assert out.action_preds.shape == (1, 5, 2)
    assert all(p.grad is not None for p in model.parameters())
