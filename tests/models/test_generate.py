"""Generation through Hugging Face's `generate()`, on every streaming mixer's own state."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, Unsupported
from formers.catalogue import members
from formers.mixers import Linear, Mixer, Softmax
from formers.positions import Alibi, Cosine, Learned, NoPosition, Rotary, Sinusoidal
from formers.testing import assert_same

STREAMING = [kind() for kind in members(Mixer) if {"causal", "streaming"} <= kind.can]
POSITIONS = [Rotary(), Alibi(), Learned(), Sinusoidal(), Cosine()]
MODELS = [{"mixer": mixer, "position": NoPosition()} for mixer in STREAMING]
MODELS += [{"mixer": Softmax(), "position": position} for position in POSITIONS]
MODELS += [{"mixer": (Softmax(kv_heads=1), Linear()), "position": Rotary()}]
EVERY_MODEL = pytest.mark.parametrize("choices", MODELS, ids=lambda c: f"{c['mixer']}-{c['position']}")
NEW = 9


def generate(model: CausalLM, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    options = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0} | options
    options.setdefault("attention_mask", torch.ones_like(ids))
    torch.manual_seed(5)
    return model.generate(ids, **options)


@EVERY_MODEL
def test_greedy_with_a_cache_is_greedy_without(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    model = causal_lm(**choices)
    with_cache = generate(model, ids)
    assert with_cache.shape == (3, 13 + NEW)
    assert torch.equal(with_cache, generate(model, ids, use_cache=False))
    by_hand = ids
    for _ in range(NEW):
        by_hand = torch.cat([by_hand, model(by_hand).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(with_cache, by_hand)


@EVERY_MODEL
def test_beams_with_a_cache_are_beams_without(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    model = causal_lm(**choices)
    options = {"num_beams": 3, "output_scores": True, "return_dict_in_generate": True}
    got, want = generate(model, ids, **options), generate(model, ids, use_cache=False, **options)
    assert torch.equal(got.sequences, want.sequences)
    assert_same(got.sequences_scores, want.sequences_scores, "scores of the beams", 1e-6)


@EVERY_MODEL
def test_sampling_is_a_function_of_the_seed(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    model = causal_lm(**choices)
    options = {"do_sample": True, "num_return_sequences": 2, "top_k": 0}
    got = generate(model, ids, **options)
    assert torch.equal(got, generate(model, ids, **options))
    assert torch.equal(got, generate(model, ids, use_cache=False, **options))
    assert not torch.equal(got[0::2], got[1::2])


@EVERY_MODEL
def test_left_padding_changes_no_row(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    model = causal_lm(**choices)
    lengths = (13, 7, 10)
    mask = torch.arange(13) >= 13 - torch.tensor(lengths)[:, None]
    for options in ({}, {"use_cache": False}, {"num_beams": 2}):
        got = generate(model, ids.where(mask, 28), attention_mask=mask.long(), **options)[:, 13:]
        for row, length in enumerate(lengths):
            alone = generate(model, ids[row : row + 1, -length:], **options)[0, length:]
            assert torch.equal(got[row], alone), f"row {row}, {options}"


@pytest.mark.parametrize("mixer", STREAMING, ids=str)
def test_assisted_generation_where_a_state_can_be_trimmed(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model, draft = (
        causal_lm(mixer=mixer, position=NoPosition()),
        causal_lm(mixer=Softmax(), depth=1, position=NoPosition()),
    )
    if "trim" in mixer.abilities:
        assert torch.equal(generate(model, ids[:1], assistant_model=draft), generate(model, ids[:1]))
    else:
        with pytest.raises(Unsupported, match="assisted generation takes tokens back"):
            generate(model, ids[:1], assistant_model=draft)


@pytest.mark.parametrize("mixer", [m for m in STREAMING if "trim" in m.abilities], ids=str)
def test_a_cropped_stream_goes_on_as_if_nothing_had_been(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    for crop in (9, -4):
        stream = model(ids, use_cache=True).past_key_values
        stream.crop(crop)
        assert stream.get_seq_length() == 9
        again = model(ids[:, 9:], past_key_values=stream).logits
        assert_same(again, model(ids).logits[:, 9:], "logits")


def test_cropping_nothing_and_too_much(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    stream = model(ids, use_cache=True).past_key_values
    for nothing in (0, 13, 20):
        stream.crop(nothing)
        assert stream.get_seq_length() == 13
        assert stream.seen_b.tolist() == [13] * 3
    sums = causal_lm(mixer=Linear()).eval()(ids, use_cache=True).past_key_values
    assert stream.is_croppable
    assert not sums.is_croppable
    with pytest.raises(Unsupported, match="cannot take tokens back"):
        sums.crop(-1)


def test_streams_count_tokens_and_bytes(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    stream = model(ids, use_cache=True).past_key_values
    assert stream.get_seq_length() == 13
    assert stream.seen_b.tolist() == [13] * 3
    assert stream.nbytes == 2 * (2 * 3 * 13 * 24 * 8 + 3 * 8)  # layers · (keys and values + tokens seen)


def test_a_mask_with_the_past_in_front(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm(mixer=Softmax(), position=Rotary())
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    want = model(ids, attention_mask=mask).logits
    stream = model(ids[:, :8], attention_mask=mask[:, :8], use_cache=True).past_key_values
    got = model(ids[:, 8:], attention_mask=mask, past_key_values=stream).logits
    assert_same(got, want[:, 8:], "logits")


def test_no_cache_in_training_or_where_there_is_none(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    assert model(ids).past_key_values is not None
    assert model(ids, use_cache=False).past_key_values is None
    assert model.train()(ids).past_key_values is None


@pytest.mark.parametrize("shape", [(3, 12), (2, 13), (3, 13, 1)])
def test_masks_that_do_not_fit_are_refused(causal_lm: Any, ids: torch.Tensor, shape: Any) -> None:
    with pytest.raises(ValueError, match="attention_mask has shape"):
        causal_lm()(ids, attention_mask=torch.ones(shape))
