"""A call of `generate()` goes on in the tensors of the last, which captured graphs read, unless somebody has them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CompileConfig

from formers import CausalLM
from formers.mixers import Linear, Softmax
from formers.models import spare_tensors, static_cache


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"):
        yield


def written(model: CausalLM, ids: Tensor, **options: Any) -> tuple[Any, list[int]]:
    """Return what a call with compiled steps gives, and where the states were that its last step overwrote."""
    places: list[int] = []

    def note(module: Any, args: Any, given: dict[str, Any]) -> None:
        places[:] = [t.data_ptr() for state in given["past_key_values"].states for t in state.tensors()]

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    static = {"cache_implementation": "static", "compile_config": CompileConfig(backend="eager")}
    given = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(ids)}
    found = model.generate(ids, **given | static | options)
    hook.remove()
    assert places
    return found, places


def grown(model: CausalLM, ids: Tensor) -> Tensor:
    tokens: Tensor = model.generate(
        ids, max_new_tokens=6, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids)
    )
    return tokens


@pytest.mark.parametrize("mixer", [Softmax(), Linear()], ids=str)
def test_the_next_call_is_in_the_same_place(causal_lm: Any, ids: Tensor, mixer: Any) -> None:
    model = causal_lm(mixer=mixer)
    (first, held), (second, after) = written(model, ids), written(model, ids.flip(0)[:, 2:], max_new_tokens=6)
    assert held == after
    assert torch.equal(first, grown(model, ids))
    assert torch.equal(second, grown(model, ids.flip(0)[:, 2:]))
    few, _ = written(model, ids[:1])  # another batch has tensors of its own
    assert torch.equal(few, grown(model, ids[:1]))


def test_a_cache_that_was_returned_stays_as_it_is(causal_lm: Any, ids: Tensor) -> None:
    model = causal_lm()
    first, held = written(model, ids, return_dict_in_generate=True)
    kept = [t.clone() for state in first.past_key_values.states for t in state.tensors()]
    _, after = written(model, ids.flip(0))
    assert not set(held) & set(after)
    for state_tensor, before in zip(
        (t for state in first.past_key_values.states for t in state.tensors()), kept, strict=True
    ):
        assert torch.equal(state_tensor, before)
    del first, state_tensor
    gc.collect()
    assert written(model, ids)[1] in (held, after)


def test_tensors_that_do_not_fit_are_gone_before_others_are_made(
    causal_lm: Any, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, held, make = causal_lm(), list[int](), static_cache._in_place
    written(model, ids)
    gc.collect()
    old = [weakref.ref(t) for layer in spare_tensors._SPARE[model][0] for t in layer.state.tensors()]

    def counted(t: Tensor) -> Tensor:
        held.append(sum(ref() is not None for ref in old))
        return make(t)

    monkeypatch.setattr(static_cache, "_in_place", counted)
    written(model, ids[:1])
    assert len(old) > 0
    assert len(held) > 1
    assert set(held) == {0}


def test_calls_at_once_do_not_share(causal_lm: Any, ids: Tensor) -> None:
    model, prompts, together = causal_lm(), [ids, ids.flip(0)], Barrier(2)
    written(model, ids)
    found: dict[int, Tensor] = {}

    def run(number: int) -> None:
        together.wait()
        found[number] = model.generate(
            prompts[number],
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            do_sample=False,
            pad_token_id=0,
            cache_implementation="static",
            compile_config=CompileConfig(backend="eager"),
        )

    threads = [Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, prompt in enumerate(prompts):
        assert torch.equal(found[number], grown(model, prompt))


def test_a_model_is_freed_with_its_tensors(causal_lm: Any, ids: Tensor) -> None:
    model = causal_lm()
    written(model, ids)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
