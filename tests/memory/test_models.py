"""Memories in whole models: configurations, loading with another length, caches, training, generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from formers import CausalLM, TransformerConfig, Unsupported
from formers.memory import NoMemory, Recurrent
from formers.models import StateCache

SIZES: dict[str, Any] = {"vocab_size": 17, "width": 24, "heads": 3, "depth": 2, "position": "xl"}


def model(memory: Any = "recurrent(length=8)", **options: Any) -> Any:
    torch.manual_seed(0)
    return CausalLM(TransformerConfig(**SIZES | {"initializer_range": 0.3, "memory": memory} | options)).double().eval()


def ids(length: int = 20, rows: int = 2) -> torch.Tensor:
    return torch.randint(17, (rows, length), generator=torch.Generator().manual_seed(1))


def in_segments(lm: Any, tokens: torch.Tensor, size: int) -> tuple[torch.Tensor, StateCache]:
    cache = StateCache()
    with torch.no_grad():
        return torch.cat([lm(part, past_key_values=cache).logits for part in tokens.split(size, 1)], 1), cache


def test_what_is_saved_without_a_memory_says_nothing_of_it(tmp_path: Path) -> None:
    plain = TransformerConfig(**SIZES)
    assert plain.memory == NoMemory()
    assert "memory" not in plain.to_dict().keys() | plain.choices().keys()
    with_memory = plain.swap(memory="recurrent(length=8)")
    assert with_memory.choices()["memory"] == "recurrent(length=8)"
    with_memory.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["memory"] == {"part": "recurrent", "length": 8}
    assert TransformerConfig.from_pretrained(tmp_path).memory == Recurrent(length=8)
    with pytest.raises(ValueError, match=r"did you mean 'recurrent'"):
        plain.swap(memory="recurent")


def test_a_trained_model_takes_another_length(tmp_path: Path) -> None:
    short = model().float()
    short.save_pretrained(tmp_path)
    long = CausalLM.from_pretrained(tmp_path, memory="recurrent(length=64)")
    assert long.config.memory == Recurrent(length=64)
    same = CausalLM.from_pretrained(tmp_path, config=short.config.swap(memory=Recurrent(length=64)))
    none = CausalLM.from_pretrained(tmp_path, memory="none")
    want = short(ids()).logits
    for other in (long, same, none):
        got = in_segments(other, ids(), 7)[0]
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
    assert not torch.allclose(in_segments(short, ids(), 7)[0], want, atol=1e-4)


def test_segments_are_one_pass_as_long_as_the_memory_holds_all() -> None:
    lm = model("recurrent(length=20)")
    want = lm(ids()).logits
    for size in (1, 3, 8, 20):
        torch.testing.assert_close(in_segments(lm, ids(), size)[0], want, rtol=0, atol=1e-10)


MEMORIES = [
    "recurrent(length=8)",
    "compressive(length=6, compressed=4, by=mean_pool)",
    "memorizing(size=9, k=3)",
    "memorizing(size=9, k=3, window=5)",
]


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_state_is_as_large_as_it_gets_after_the_tokens_that_it_says(memory: str) -> None:
    lm = model(memory)
    full = lm.config.memory.tokens(lm.config.context_length)
    sizes = [in_segments(lm, ids(length), 4)[1].nbytes for length in (full - 4, *range(full, full + 7))]
    assert sizes[0] < sizes[1] == max(sizes)


@pytest.mark.parametrize(("memory", "segment"), zip(MEMORIES, (4, 3, 4, 4), strict=True))
def test_outputs_depend_on_no_token_out_of_reach(memory: str, segment: int) -> None:
    lm = model(memory)
    reach = lm.config.memory.reach(lm.config.depth, lm.config.context_length)
    text = ids(segment * (reach // segment + 6))
    other, far = text.clone(), text.shape[1] - segment - reach
    other[:, :far] = (other[:, :far] + 1) % 11
    want, got = (in_segments(lm, one, segment)[0][:, -segment:] for one in (text, other))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    other[:, : far + reach // 2] += 1
    assert not torch.allclose(in_segments(lm, other % 11, segment)[0][:, -segment:], want)


def test_rows_begin_anew_in_a_cache() -> None:
    lm = model()
    _, cache = in_segments(lm, ids(), 5)
    cache.reset_rows(torch.tensor([True, False]))
    assert cache.seen_b.tolist() == [0, 20]
    _, untouched = in_segments(lm, ids(), 5)
    more = ids(6)
    with torch.no_grad():
        got = lm(more, past_key_values=cache).logits
        torch.testing.assert_close(got[0], lm(more).logits[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(got[1], lm(more, past_key_values=untouched).logits[1], rtol=0, atol=1e-10)


def test_keys_and_values_begin_anew_too_and_sums_do_not() -> None:
    lm, linear = model("none"), model("none", mixer="linear", position="none")
    _, cache = in_segments(lm, ids(), 5)
    cache.reset_rows(torch.tensor([True, False]))
    with torch.no_grad():
        got = lm(ids(6), past_key_values=cache).logits
    torch.testing.assert_close(got[0], lm(ids(6)).logits[0], rtol=0, atol=1e-10)
    _, sums = in_segments(linear, ids(), 5)
    with pytest.raises(Unsupported, match="cannot reset single rows"):
        sums.reset_rows(torch.tensor([True, False]))


@pytest.mark.parametrize("options", [{}, {"residual": "reversible"}, {"residual": "gated"}], ids=str)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_training_on_segments(options: Any, checkpointed: bool) -> None:
    """Gradients of a segment are those of segments in which what came before is data."""
    lm = model(**options).train()
    if checkpointed:
        lm.gradient_checkpointing_enable({"use_reentrant": False})
    first, second = ids().split([12, 8], 1)
    cache = StateCache()
    lm(first, past_key_values=cache, labels=first).loss.backward()
    lm.zero_grad()
    for layer in cache.layers:
        assert not layer.state.memory.x_bmd.requires_grad
        assert layer.state.memory.k_bgmk is None
    lm(second, past_key_values=cache, labels=second).loss.backward()
    got = {name: p.grad.clone() for name, p in lm.named_parameters()}
    plain = model(**options).train()
    cache = StateCache()
    with torch.no_grad():
        plain(first, past_key_values=cache)
    plain(second, past_key_values=cache, labels=second).loss.backward()
    for name, p in plain.named_parameters():
        torch.testing.assert_close(got[name], p.grad, rtol=0, atol=1e-12, msg=name)


def test_generation_goes_on_from_the_memory() -> None:
    lm = model()
    prompt = ids(11)
    out = lm.generate(prompt, max_new_tokens=9, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(prompt))
    cache, by_hand = StateCache(), prompt
    with torch.no_grad():
        logits = lm(prompt, past_key_values=cache).logits
        for _ in range(9):
            by_hand = torch.cat([by_hand, logits[:, -1:].argmax(-1)], 1)
            logits = lm(by_hand[:, -1:], past_key_values=cache).logits
    assert torch.equal(out, by_hand)
    of_tokens = 2 * 8 * (24 + 24 + 24) * 8  # two rows of eight: inputs, keys, values
    assert cache.nbytes == 2 * (of_tokens + 2 * 8 * 8 + 2 * 8)  # and positions and counts


def test_tokens_cannot_be_taken_back() -> None:
    lm = model()
    with pytest.raises(Unsupported, match=r"recurrent\(length=8\) cannot be trim.*memory none\(\)"):
        lm.generate(ids(5, 1), assistant_model=model("none"), max_new_tokens=2)


def test_costs_are_those_with_a_full_memory() -> None:
    plain, short, long = (model(memory) for memory in ("none", "recurrent(length=16)", "recurrent(length=64)"))
    of_plain, of_short, of_long = (lm.flops_per_token(16) for lm in (plain, short, long))
    keys, layers, width = 16, 2, 24
    # a remembered token is projected to keys and values, and has scores, distances and values with every new one
    per_remembered = 2 * layers * (2 * width * width + keys * 2 * width) / 16
    assert of_short - of_plain > 16 * per_remembered
    assert (of_long - of_short) / 48 == pytest.approx((of_short - of_plain) / 16, rel=0.1)
    assert long.state_bytes(1000) == long.state_bytes(64) == 4 * short.state_bytes(16) - 3 * 2 * 8 * 1
