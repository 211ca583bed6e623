"""The cache of states keeps Hugging Face's contract, or refuses with a reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache, StaticCache

from formers import CausalLM, Unsupported
from formers.catalogue import members
from formers.mixers import Linear, Lsh, Mixer, Softmax
from formers.models import StateCache
from formers.positions import NoPosition
from formers.testing import assert_same

STREAMING = [kind() for kind in members(Mixer) if {"causal", "streaming"} <= kind().abilities]
TRIMMING = [mixer for mixer in STREAMING if "trim" in mixer.abilities]
EVERY_MIXER = pytest.mark.parametrize("mixer", STREAMING, ids=str)
MASK = torch.tensor([[1] * 13, [0] * 5 + [1] * 8, [1] * 9 + [0] * 4])


def filled(model: CausalLM, ids: torch.Tensor, **inputs: Any) -> StateCache:
    cache = StateCache()
    out = model(ids, past_key_values=cache, **inputs)
    assert out.past_key_values is cache
    return cache


def keys_and_values(model: CausalLM, tokens: int = 4) -> DynamicCache:
    zeros = torch.zeros(3, 3, tokens, 8, dtype=torch.float64)
    return DynamicCache([(zeros, zeros)] * model.config.depth)


def test_an_empty_cache_answers_what_can_be_known() -> None:
    cache = StateCache()
    assert isinstance(cache, Cache)
    assert (cache.get_seq_length(), cache.batch_size, cache.nbytes, len(cache)) == (0, -1, 0, 0)
    assert not cache.is_croppable
    assert not cache.is_compileable
    cache.crop(0)
    cache.reset()
    cache.reorder_cache(torch.tensor([0]))
    with pytest.raises(ValueError, match="an empty cache has no rows yet"):
        cache.seen_b  # noqa: B018


@EVERY_MIXER
def test_no_tokens_leave_a_cache_as_it_is(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model, cache = causal_lm(mixer=mixer, position="none"), StateCache()
    want = model(ids).logits
    assert model(ids[:, :0], past_key_values=cache).logits.shape[1] == 0
    assert_same(model(ids[:, :5], past_key_values=cache).logits, want[:, :5], "after an empty start")
    assert model(ids[:, :0], past_key_values=cache).logits.shape[1] == 0
    assert_same(model(ids[:, 5:], past_key_values=cache).logits, want[:, 5:], "after an empty chunk")


def test_a_filled_cache_counts_tokens_rows_and_bytes(causal_lm: Any, ids: torch.Tensor) -> None:
    cache = filled(causal_lm(), ids, attention_mask=MASK)
    assert (cache.get_seq_length(), cache.get_seq_length(1), cache.batch_size, len(cache)) == (13, 13, 3, 2)
    assert cache.seen_b.tolist() == [13, 8, 9]
    assert cache.get_mask_sizes(2, 0) == (15, 0)
    assert cache.get_query_offset() == 13
    assert {cache.get_max_length(), cache.get_max_length(1), cache.get_max_cache_shape(), cache.max_cache_len} == {-1}
    assert not cache.is_compileable
    assert cache.is_sliding == [False, False]
    bare = filled(causal_lm(), ids)
    assert bare.nbytes == 2 * (2 * 3 * 13 * 24 * 8 + 3 * 8)  # layers · (keys and values + tokens seen)
    assert "StateLayer(KeyValueState, length=13)" in repr(bare)


@EVERY_MIXER
def test_rows_are_picked_and_repeated(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    changes: dict[str, tuple[list[int], Any]] = {
        "reorder": ([2, 0, 0], lambda cache: cache.reorder_cache(torch.tensor([2, 0, 0]))),
        "select": ([1], lambda cache: cache.batch_select_indices(torch.tensor([1]))),
        "mask": ([0, 2], lambda cache: cache.batch_select_indices(torch.tensor([True, False, True]))),
        "repeat": ([0, 0, 1, 1, 2, 2], lambda cache: cache.batch_repeat_interleave(2)),
    }
    for name, (rows, change) in changes.items():
        cache = filled(model, ids[:, :9], attention_mask=MASK[:, :9])
        change(cache)
        assert cache.batch_size == len(rows)
        got = model(ids[rows, 9:], past_key_values=cache).logits
        mask = torch.cat([MASK[:, :9], torch.ones_like(MASK[:, 9:])], 1)
        assert_same(got, model(ids[rows], attention_mask=mask[rows]).logits[:, 9:], f"logits after {name}")


@EVERY_MIXER
def test_a_cache_that_was_reset_or_copied_starts_where_it_says(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    with torch.no_grad():
        cache = filled(model, ids[:, :9])
        twin = copy.deepcopy(cache)
        model(ids[:, 3:5], past_key_values=cache)
        assert_same(model(ids[:, 9:], past_key_values=twin).logits, model(ids).logits[:, 9:], "logits of the copy")
        cache.reset()
        assert cache.get_seq_length() == 0
        assert_same(model(ids[:2], past_key_values=cache).logits, model(ids[:2]).logits, "logits after a reset")


@pytest.mark.parametrize("mixer", TRIMMING, ids=str)
def test_a_cropped_cache_goes_on_as_if_nothing_had_been(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    for crop in (9, -4):
        cache = filled(model, ids)
        cache.crop(crop)
        assert cache.get_seq_length() == 9
        assert_same(model(ids[:, 9:], past_key_values=cache).logits, model(ids).logits[:, 9:], "logits")


def test_cropping_forgets_positions_not_real_tokens(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    cache = filled(model, ids, attention_mask=MASK)  # row 2 ends in four tokens of padding
    cache.crop(-2)
    assert cache.seen_b.tolist() == [11, 6, 9]
    cache.crop(-100)
    assert cache.get_seq_length() == 0
    assert_same(model(ids, past_key_values=cache).logits, model(ids).logits, "logits after forgetting everything")


def test_cropping_nothing_and_what_cannot_be(causal_lm: Any, ids: torch.Tensor) -> None:
    cache = filled(causal_lm(), ids)
    for nothing in (0, 13, 20):
        cache.crop(nothing)
        assert cache.get_seq_length() == 13
        assert cache.seen_b.tolist() == [13] * 3
    assert cache.is_croppable
    mixed = filled(causal_lm(mixer=(Softmax(), Linear())), ids)
    assert not mixed.is_croppable
    with pytest.raises(Unsupported, match="cannot take tokens back"):
        mixed.crop(-1)
    assert [state.seen_b.tolist() for state in mixed.states] == [[13] * 3] * 2, "no layer forgot anything"
    mixed.crop(0)


def test_keys_and_values_are_refused(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    zeros = torch.zeros(3, 3, 1, 8)
    for cache in (StateCache(), filled(model, ids)):
        for refused in (
            lambda cache=cache: cache.update(zeros, zeros, 0),
            lambda cache=cache: cache.layers[0].lazy_initialization(zeros, zeros),
            lambda cache=cache: cache.layers[0].offload(),
            lambda cache=cache: cache.layers[0].prefetch(),
        ):
            with pytest.raises(Unsupported):
                refused()
    with pytest.raises(Unsupported, match=r"DynamicCache with keys and values of 4 tokens.*prefix tuning.*StateCache"):
        model(ids, past_key_values=keys_and_values(model))
    with pytest.raises(Unsupported, match="a cache of type StaticCache was given"):
        model(ids, past_key_values=StaticCache(config=model.config, max_cache_len=64))
    with pytest.raises(Unsupported, match="a cache of type EncoderDecoderCache was given"):
        model(ids, past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()))
    with pytest.raises(Unsupported, match="offloading DynamicCache"):
        model(ids, past_key_values=DynamicCache(offloading=True))
    for other in ([1], ((zeros, zeros),)):
        with pytest.raises(TypeError, match="must be a StateCache"):
            model(ids, past_key_values=other)


@EVERY_MIXER
def test_an_empty_dynamic_cache_is_filled_with_states(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer, position=NoPosition())
    for cache in (DynamicCache(), DynamicCache(config=model.config)):
        model(ids[:, :9], past_key_values=cache)
        assert cache.get_seq_length() == 9
        assert_same(model(ids[:, 9:], past_key_values=cache).logits, model(ids).logits[:, 9:], "logits")


def test_caches_of_other_batches_and_models_are_refused(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    with pytest.raises(ValueError, match="states of 3 rows, but the batch has 2"):
        model(ids[:2], past_key_values=filled(model, ids))
    with pytest.raises(ValueError, match="states of 2 layers, but the model has 1"):
        causal_lm(depth=1)(ids, past_key_values=filled(model, ids))
    with pytest.raises(Unsupported, match="no streaming state"):
        causal_lm(mixer=Lsh())(ids, past_key_values=DynamicCache())


def test_no_cache_in_training_or_where_there_is_none(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    assert isinstance(model(ids).past_key_values, StateCache)
    assert model(ids, use_cache=False).past_key_values is None
    assert model.train()(ids).past_key_values is None


def test_a_mask_with_the_past_in_front(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    want = model(ids, attention_mask=MASK[1:2].expand(3, -1)).logits
    for mask in (MASK[1:2].expand(3, -1), MASK[1:2, 8:].expand(3, -1)):
        cache = filled(model, ids[:, :8], attention_mask=MASK[1:2, :8].expand(3, -1))
        got = model(ids[:, 8:], attention_mask=mask, past_key_values=cache).logits
        assert_same(got, want[:, 8:], "logits")


@pytest.mark.parametrize("shape", [(3, 12), (2, 13), (3, 13, 1), (3, 14)])
def test_masks_that_do_not_fit_are_refused(causal_lm: Any, ids: torch.Tensor, shape: Any) -> None:
    with pytest.raises(ValueError, match="attention_mask has shape"):
        causal_lm()(ids, attention_mask=torch.ones(shape))
    with pytest.raises(ValueError, match=r"with the 8 tokens of the past in front \(3, 13\)"):
        causal_lm()(ids[:, 8:], attention_mask=torch.ones(3, 9), past_key_values=filled(causal_lm(), ids[:, :8]))
