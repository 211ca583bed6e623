"""States that keep their place in memory: the same tokens as with states that grow, from a step compiled once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters
from transformers import CompileConfig

from formers import CausalLM, Unsupported
from formers.catalogue import members
from formers.computation import EarlyExit, Universal
from formers.memory import Recurrent
from formers.mixers import Linear, Mixer, Performer, Rfa, Routing, Softmax, Sparse
from formers.models import StateCache, StaticStateCache
from formers.patterns import Global, Window
from formers.positions import Alibi, Da, NoPosition, Rotary, Shaw
from formers.testing import assert_same

STATIC = [kind() for kind in members(Mixer) if {"causal", "static"} <= kind().abilities]
POSITIONED = [(Softmax(kv_heads=1), Rotary()), (Softmax(), Alibi()), (Softmax(), Shaw()), (Softmax(), Da())]
POSITIONED += [(Sparse(pattern=Window(5) | Global(0)), Alibi()), (Sparse(pattern=Window(5)), Rotary())]
CHOICES = [{"mixer": mixer, "position": NoPosition()} for mixer in STATIC]
CHOICES += [{"mixer": mixer, "position": position} for mixer, position in POSITIONED]
MASK = torch.tensor([[1] * 13, [0] * 5 + [1] * 8, [0] * 2 + [1] * 11])


def named(choices: Any) -> str:
    return f"{choices['mixer']}-{choices['position']}"


def generate(model: CausalLM, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    options = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0, "attention_mask": MASK} | options
    torch.manual_seed(5)
    return model.generate(ids, **options)


def places(cache: StateCache) -> list[int]:
    return [t.data_ptr() for state in cache.states for t in state.tensors()]


@pytest.mark.parametrize("choices", CHOICES, ids=named)
def test_tokens_are_those_of_states_that_grow(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    model = causal_lm(**choices)
    assert torch.equal(generate(model, ids, cache_implementation="static"), generate(model, ids))


@pytest.mark.parametrize("mixer", [Softmax(), Linear(), Sparse(pattern=Window(5))], ids=str)
def test_so_are_those_of_beams_and_of_samples(causal_lm: Any, ids: torch.Tensor, mixer: Mixer) -> None:
    model = causal_lm(mixer=mixer)
    several = [{"num_beams": 3}, {"do_sample": True, "top_k": 0, "num_return_sequences": 2}]
    for options in [*several, {"prefill_chunk_size": 4}, {"max_new_tokens": 1}]:
        got = generate(model, ids, cache_implementation="static", **options)
        assert torch.equal(got, generate(model, ids, **options)), options


@pytest.mark.parametrize("choices", CHOICES, ids=named)
def test_steps_leave_every_tensor_in_its_place(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    model, cache, grown = causal_lm(**choices), StaticStateCache(40), StateCache()
    with torch.inference_mode():
        model(ids, attention_mask=MASK, past_key_values=cache)
        model(ids, attention_mask=MASK, past_key_values=grown)
    held = places(cache)
    with torch.no_grad():
        for token in range(7):
            step = ids[:, token : token + 1]
            got, want = (model(step, past_key_values=one).logits for one in (cache, grown))
            assert_same(got, want, f"logits of token {token}")
            assert places(cache) == held
        assert int(cache.get_seq_length()) == grown.get_seq_length() == 20
        more = [model(ids[:, :4], past_key_values=one).logits for one in (cache, grown)]
        assert_same(more[0], more[1], "logits of several tokens at once")
        assert places(cache) == held
        cache.reset()
        assert (cache.get_seq_length(), cache.nbytes) == (0, 0)
        assert_same(model(ids, past_key_values=cache).logits, model(ids).logits, "logits of another text")
        assert places(cache) == held


def a_step_is_compiled_once(model: CausalLM, ids: torch.Tensor) -> None:
    """Check that 20 tokens, and 20 of another text, come from one graph without a break, with a cache of each call."""
    compile_config = CompileConfig(backend="eager", fullgraph=True, dynamic=False, mode=None)
    compile_config._compile_all_devices = True
    options = {"compile_config": compile_config, "cache_implementation": "static", "max_new_tokens": 20}
    torch.compiler.reset()
    counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for prompt in (ids, ids.flip(0)):
            assert torch.equal(generate(model, prompt, **options), generate(model, prompt, max_new_tokens=20))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@pytest.mark.parametrize("choices", [CHOICES[0], CHOICES[-2]], ids=named)
def test_a_step_is_compiled_once(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    a_step_is_compiled_once(causal_lm(**choices, depth=1), ids)


def room(model: CausalLM, ids: torch.Tensor, **options: Any) -> int:
    """Return the tokens that the static cache of a call had room for."""
    options = {"cache_implementation": "static", "return_dict_in_generate": True} | options
    return generate(model, ids, **options).past_key_values.max_length  # type: ignore[attr-defined]


def test_a_short_text_after_a_long_one_has_a_short_cache(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm(depth=1)
    found = [room(model, ids, max_new_tokens=new) for new in (30, 5)]
    assert found == [found[0], found[0] - 25]
    assert room(model, ids, max_new_tokens=5, max_cache_len=40) == 40


@pytest.mark.parametrize("way", ["compile_config", "compile", "forward"])
def test_where_steps_are_compiled_a_cache_fits_the_steps_before(causal_lm: Any, ids: torch.Tensor, way: str) -> None:
    model, options = causal_lm(depth=1), dict[str, Any]()
    if way == "compile_config":  # of which a CPU makes nothing unless told to
        options = {"compile_config": CompileConfig(backend="eager")}
    elif way == "compile":
        model.compile(backend="eager")
    else:
        model.forward = torch.compile(model.forward, backend="eager")
    with torch.compiler.set_stance("force_eager"):
        found = [room(model, ids, max_new_tokens=new, **options) for new in (12, 5)]
    assert found[0] == found[1]


MORE = [*CHOICES[1:], *({"mixer": mixer, "position": NoPosition()} for mixer in (Rfa(gate=True), Performer()))]


@pytest.mark.slow
@pytest.mark.parametrize("choices", MORE, ids=named)
def test_a_step_of_every_mixer_is_compiled_once(causal_lm: Any, ids: torch.Tensor, choices: Any) -> None:
    a_step_is_compiled_once(causal_lm(**choices, depth=1), ids)


def test_rows_are_picked_repeated_and_begun_anew(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm(mixer=Softmax())
    with torch.no_grad():
        for change in ("reorder", "repeat"):
            caches = StaticStateCache(40), StateCache()
            for cache in caches:
                model(ids, attention_mask=MASK, past_key_values=cache)
                if change == "reorder":
                    cache.reorder_cache(torch.tensor([2, 0, 0]))
                else:
                    cache.batch_repeat_interleave(2)
            step = ids[[0] * caches[1].batch_size, :1]
            got, want = (model(step, past_key_values=cache).logits for cache in caches)
            assert_same(got, want, f"logits after {change}")
        cache = StaticStateCache(40)
        model(ids, past_key_values=cache)
        cache.reset_rows(torch.tensor([False, True, False]))
        got = model(ids[:, :1], past_key_values=cache).logits[1]
        assert_same(got, model(ids[1:2, :1]).logits[0], "logits of a row that begins anew")


def test_a_cache_of_the_users_goes_on_and_is_never_too_small(causal_lm: Any, ids: torch.Tensor) -> None:
    model, cache = causal_lm(mixer=(Softmax(), Linear())), StaticStateCache(24)
    whole = generate(model, ids, attention_mask=None)
    first = generate(model, ids, attention_mask=None, past_key_values=cache, max_new_tokens=4)
    rest = generate(model, first, attention_mask=None, past_key_values=cache, max_new_tokens=5)
    assert torch.equal(rest, whole)
    with pytest.raises(ValueError, match=r"has room for 24 tokens, but 29 may come"):
        generate(model, rest, attention_mask=None, past_key_values=cache, max_new_tokens=8)
    with torch.no_grad():
        with pytest.raises(ValueError, match=r"was asked for 8 tokens, but 13 have come"):
            model(ids, past_key_values=StaticStateCache(8))
        small = StaticStateCache(8)
        model(ids[:, :8], past_key_values=small)
        with pytest.raises(ValueError, match=r"made for 8 tokens, and a row has had as many"):
            model(ids[:, :1], past_key_values=small)


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ({"mixer": Routing(window=4)}, "no streaming state"),
        ({"memory": Recurrent(length=8)}, "cannot be static"),
        ({"computation": Universal(), "position": NoPosition()}, "states of UniversalModule grow"),
        ({"computation": EarlyExit()}, "states of EarlyExitModule grow"),
    ],
    ids=str,
)
def test_what_has_no_static_states_says_so(causal_lm: Any, ids: torch.Tensor, choices: Any, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        generate(causal_lm(**choices), ids, cache_implementation="static")


def test_what_a_static_cache_cannot_do_is_refused(causal_lm: Any, ids: torch.Tensor) -> None:
    model, cache = causal_lm(), StaticStateCache(40)
    with pytest.raises(Unsupported, match="passes no gradients"):
        model(ids, past_key_values=cache)
    with torch.no_grad():
        model(ids, past_key_values=cache)
    with pytest.raises(Unsupported, match="cannot take tokens back"):
        cache.crop(-2)
    with pytest.raises(Unsupported, match="assisted generation has no static cache"):
        generate(model, ids[:1], attention_mask=None, cache_implementation="static", assistant_model=model)
    with pytest.raises(ValueError, match="use_cache=False"):
        generate(model, ids, cache_implementation="static", use_cache=False)
    with pytest.raises(ValueError, match="room for at least 1 token"):
        StaticStateCache(0)
    assert "StaticStateLayer(StaticKeyValueState, length=13)" in repr(cache)
