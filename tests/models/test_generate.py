"""Generation through Hugging Face's `generate()`, on every mixer's own state, and without one."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from formers import CausalLM, Unsupported
from formers.catalogue import members
from formers.mixers import Linear, Mixer, Routing, Softmax
from formers.models import StateCache
from formers.positions import Alibi, Cosine, Learned, NoPosition, Position, Rotary, Sinusoidal
from formers.tasks.continuation import generate as continued
from formers.testing import SITE, assert_same
from formers.testing.laws import generation_equals_recomputation

STREAMING = [kind() for kind in members(Mixer) if {"causal", "streaming"} <= kind().abilities]
POSITIONS = [Rotary(), Alibi(), Learned(), Sinusoidal(), Cosine()]
MODELS = [{"mixer": mixer, "position": NoPosition()} for mixer in STREAMING]
MODELS += [{"mixer": Softmax(), "position": position} for position in POSITIONS]
MODELS += [{"mixer": (Softmax(kv_heads=1), Linear()), "position": Rotary()}]
EVERY_MODEL = pytest.mark.parametrize("choices", MODELS, ids=lambda c: f"{c['mixer']}-{c['position']}")
KINDS: list[Any] = ["softmax()", "linear()", "window(5) | global(0)", "sliding_dense(window=5)"]
KINDS += ["routing(window=4)", "lsh()", "bigbird()", ["softmax()", "lsh()"], ["linear()", "routing()"]]
EVERY_KIND = pytest.mark.parametrize("mixer", KINDS, ids=str)
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
    padded = {"ids": ids.where(mask, 28), "attention_mask": mask.long()}
    for options in ({}, {"num_beams": 2}):
        got = generate(model, **padded, **options)[:, 13:]
        for row, length in enumerate(lengths):
            alone = generate(model, ids[row : row + 1, -length:], **options)[0, length:]
            assert torch.equal(got[row], alone), f"row {row}, {options}"
    assert torch.equal(generate(model, **padded, use_cache=False), generate(model, **padded))


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


@pytest.mark.parametrize("mixer", STREAMING, ids=str)
def test_assisting_where_a_state_can_be_trimmed(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model, draft = causal_lm(position=NoPosition()), causal_lm(mixer=mixer, depth=1, position=NoPosition())
    if "trim" in mixer.abilities:
        assert torch.equal(generate(model, ids[:1], assistant_model=draft), generate(model, ids[:1]))
    else:
        with pytest.raises(Unsupported, match="assisted generation takes tokens back"):
            generate(model, ids[:1], assistant_model=draft)


@EVERY_KIND
def test_every_way_of_generating_is_recomputation(causal_lm: Any, ids: torch.Tensor, mixer: Any) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    by_hand = ids
    for _ in range(NEW):
        by_hand = torch.cat([by_hand, model(by_hand, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    for options in ({}, {"use_cache": True}, {"use_cache": False}, {"past_key_values": None}, {"guidance_scale": 1.0}):
        assert torch.equal(generate(model, ids, **options), by_hand), options
    for options in ({"num_beams": 3}, {"do_sample": True, "top_k": 0}, {"guidance_scale": 1.5}):
        got, want = (generate(model, ids, use_cache=use_cache, **options) for use_cache in (True, False))
        assert torch.equal(got, want), options


@EVERY_KIND
def test_generation_goes_on_from_a_cache(causal_lm: Any, ids: torch.Tensor, mixer: Any) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    first = generate(model, ids, max_new_tokens=4, return_dict_in_generate=True)
    if not model.streaming:
        assert first.get("past_key_values") is None
        with pytest.raises(Unsupported, match=r"no streaming state.*call without past_key_values"):
            generate(model, ids, past_key_values=DynamicCache())
        return
    whole, cache = generate(model, ids), first.past_key_values
    seen = cache.get_seq_length()
    twin = copy.deepcopy(cache)
    assert torch.equal(generate(model, first.sequences, past_key_values=cache, max_new_tokens=NEW - 4), whole)
    new_only = {"attention_mask": torch.ones_like(first.sequences), "past_key_values": twin, "max_new_tokens": NEW - 4}
    assert torch.equal(generate(model, first.sequences[:, seen:], **new_only), whole[:, seen:])
    with pytest.raises(ValueError, match=r"has seen \d+ tokens already, and the sequence has 13"):
        generate(model, ids, past_key_values=cache)


@pytest.mark.parametrize("mixer", STREAMING, ids=str)
def test_a_dynamic_cache_of_the_users_is_filled_and_goes_on(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    for cache in (DynamicCache(), DynamicCache(config=model.config), StateCache()):
        first = generate(model, ids, past_key_values=cache, max_new_tokens=4)
        assert cache.get_seq_length() == 13 + 3
        assert torch.equal(generate(model, first, past_key_values=cache, max_new_tokens=NEW - 4), generate(model, ids))


@pytest.mark.parametrize("mixer", STREAMING, ids=str)
def test_prompts_in_chunks_and_as_embeddings(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    want = generate(model, ids, attention_mask=mask)
    assert torch.equal(generate(model, ids, attention_mask=mask, prefill_chunk_size=4), want)
    embeddings = model.get_input_embeddings()(ids)
    assert torch.equal(generate(model, ids, attention_mask=mask, inputs_embeds=embeddings), want)


def test_what_cannot_be_generated_is_refused(causal_lm: Any, ids: torch.Tensor) -> None:
    model, stateless = causal_lm(), causal_lm(mixer=Routing(window=4))
    for implementation in ("offloaded", "quantized"):
        with pytest.raises(Unsupported, match=f"cache_implementation='{implementation}' is for keys and values"):
            generate(model, ids, cache_implementation=implementation)
    with pytest.raises(Unsupported, match="continuous batching"):
        model.generate_batch(ids.tolist())
    with pytest.raises(Unsupported, match="assistant_early_exit"):
        generate(model, ids[:1], assistant_early_exit=1)
    with pytest.raises(ValueError, match="past_key_values were given with use_cache=False"):
        generate(model, ids, past_key_values=StateCache(), use_cache=False)
    with pytest.raises(Unsupported, match="only a streaming model can generate from inputs_embeds"):
        generate(stateless, ids, inputs_embeds=stateless.get_input_embeddings()(ids))
    with pytest.raises(ValueError, match="prefill chunking without a cache"):
        generate(stateless, ids, prefill_chunk_size=4)
    for options in ({"assistant_model": model}, {"prompt_lookup_num_tokens": 2}):
        with pytest.raises(Unsupported, match="assisted generation takes tokens back"):
            generate(stateless, ids[:1], **options)
    with pytest.raises(Unsupported, match="assisted generation takes tokens back"):
        generate(model, ids[:1], assistant_model=stateless)


@EVERY_KIND
def test_written_texts_are_recomputation(causal_lm: Any, ids: torch.Tensor, mixer: Any) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())  # as `formers generate` and the samples of reports write
    written = ids[0]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        for _ in range(NEW):
            logits = model(written[None], use_cache=False).logits[:, -1].float() / 0.8
            written = torch.cat([written, torch.multinomial(logits.softmax(-1), 1)[0]])
    assert torch.equal(continued(model, ids[0], tokens=NEW, temperature=0.8, seed=3), written)
    assert torch.equal(continued(model, ids[0], tokens=NEW, temperature=0), generate(model, ids[:1])[0])


def pairs() -> list[tuple[Mixer, Position]]:
    """Every mixer that can be causal, with every position it can take."""
    found = []
    for mixer, position in product([kind() for kind in members(Mixer)], [kind() for kind in members(Position)]):
        with suppress(Unsupported):
            mixer.build(replace(SITE, causal=True, position=position))
            found.append((mixer, position))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("mixer", "position"), pairs(), ids=str)
def test_generation_is_recomputation_with_every_position(mixer: Mixer, position: Position) -> None:
    generation_equals_recomputation(mixer, replace(SITE, position=position))
