"""Times and memory of swapped models, kept as they are measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from formers.adapt import use_attention
from formers.adapt.swap_plan import state_bytes_per_layer
from formers.adapt.swap_speed import SwapSpeed, generation_costs, swap_speeds
from formers.mixers import Mixer

from .families import DECODERS, made

SINKS = "sparse(pattern=window(4) | sinks(2))"
BLOCKS = "sparse(pattern=blockwise([1, 0]))"


def test_caches_are_those_that_the_mixers_promise(tmp_path: Path) -> None:
    model, file = made(DECODERS["llama"]).float(), tmp_path / "speeds.jsonl"
    rows = swap_speeds(model, ["window(4) | sinks(2)", "blockwise([1, 0])"], [16, 40], file=file)
    assert [(row.mixer, row.length) for row in rows[:3]] == [("", 16), (SINKS, 16), (BLOCKS, 16)]
    for row in rows:
        assert not row.failure
        assert row.prefill_seconds is not None
        assert row.prefill_seconds > 0
        if row.mixer == BLOCKS:
            assert (row.token_seconds, row.cache_bytes) == (None, None)
            continue
        assert row.token_seconds is not None
        assert row.token_seconds > 0
        promised = 2 * state_bytes_per_layer(model, Mixer.parse(row.mixer or "softmax()"), row.length + 9)
        counters = 0 if row.mixer else 2 * 8  # our state counts its tokens, Hugging Face's has no need to
        assert row.cache_bytes == promised - counters
    assert model.config._attn_implementation == "sdpa"
    assert swap_speeds(model, ["window(4) | sinks(2)", "blockwise([1, 0])"], [16, 40], file=file) == rows
    assert len(file.read_text().splitlines()) == 1 + len(rows)


def test_out_of_memory_is_a_row_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, file = made(DECODERS["llama"]).float(), tmp_path / "speeds.jsonl"

    def full(model: PreTrainedModel, length: int, *, streams: bool = True) -> dict[str, object]:
        if length == 40 and model.config._attn_implementation == "sdpa":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return generation_costs(model, length, streams=streams)

    monkeypatch.setattr("formers.adapt.swap_speed.generation_costs", full)
    rows = swap_speeds(model, ["window(4)"], [16, 40], file=file)
    assert [row.failure for row in rows] == ["", "", "out of memory", ""]
    assert json.loads(file.read_text().splitlines()[3])["failure"] == "out of memory"
    monkeypatch.undo()
    again = swap_speeds(model, ["window(4)"], [16, 40], file=file)
    assert [row.failure for row in again] == [""] * 4
    assert [again[i] for i in (0, 1, 3)] == [rows[i] for i in (0, 1, 3)]


def test_another_machine_s_times_are_not_mixed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, file = made(DECODERS["llama"]).float(), tmp_path / "speeds.jsonl"
    swap_speeds(model, [], [8], file=file)
    facts = {"torch": torch.__version__, "device": "another one", "threads": "64"}
    monkeypatch.setattr("formers.adapt.swap_speed.environment", lambda device: facts)
    with pytest.raises(ValueError, match="another model, attention, machine or number of threads"):
        swap_speeds(model, [], [8], file=file)


def test_a_row_keeps_its_fields() -> None:
    assert SwapSpeed(mixer="", length=8).cache_bytes is None
    model = use_attention(made(DECODERS["gpt2"]).float(), "linear()")
    costs = generation_costs(model, 20)
    assert costs["cache_bytes"] == 2 * state_bytes_per_layer(model, Mixer.parse("linear()"), 29)
