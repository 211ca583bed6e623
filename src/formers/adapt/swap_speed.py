"""The time and memory of a pretrained model with another attention: reading a prompt, then one token after another."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache

from formers.adapt.attention_cache import AttentionCache
from formers.adapt.json_lines import JsonLines, hash_of_model
from formers.adapt.swap_costs import Progress
from formers.adapt.use_attention import use_attention
from formers.bench.measuring.memory import memory_limit
from formers.machine.environment import environment
from formers.machine.memory import is_out_of_memory, peak_bytes, reset_peak
from formers.mixers import Mixer
from formers.models.cache import StateCache
from formers.part import evaluating

_STEPS = 8
"""Tokens that are timed after a prompt; one more before them finds everything that the first call makes."""
_MACHINE = ("torch", "device", "threads")
"""Facts of the environment on which times depend."""


@dataclass(frozen=True)
class SwapSpeed:
    """The costs of a mixer in all layers, for one row after a prompt of `length` tokens.

    Attributes:
        mixer: the mixer as text; empty for the model as it is.
        length: tokens of the prompt.
        prefill_seconds: time to read the prompt.
        token_seconds: time of each token after it; None for a mixer that keeps no state.
        cache_bytes: bytes that the cache then holds; None likewise.
        peak_bytes: the most memory that the process, or on a GPU its tensors, had meanwhile, the model's weights
            included; None where unknown.
        failure: why it could not be measured; empty if it was.
    """

    mixer: str
    length: int
    prefill_seconds: float | None = None
    token_seconds: float | None = None
    cache_bytes: int | None = None
    peak_bytes: int | None = None
    failure: str = ""


def swap_speeds(
    model: PreTrainedModel,
    mixers: Sequence[Mixer | str],
    lengths: Sequence[int],
    *,
    file: Path | None = None,
    progress: Progress | None = None,
) -> list[SwapSpeed]:
    """Return time and memory of the model as it is and with each mixer in all layers, at each length.

    Args:
        model: of Hugging Face's; it has its own attention again afterwards. One that cannot generate reads alone.
        lengths: of the prompts, in tokens.
        file: where each measurement is kept as it is made: the same call goes on behind the last one.
        progress: called after each measurement.

    What runs out of memory is a row that says so; the next call tries it again.

    Raise ValueError for a file of another model or attention, of another machine or number of threads.
    """
    facts = environment(model.device)
    header = {"model": hash_of_model(model), "attention": model.config._attn_implementation}
    header |= {name: facts[name] for name in _MACHINE}
    kept = JsonLines(file, header, "another model, attention, machine or number of threads")
    rows = [SwapSpeed(**line) for line in kept.lines]
    known = {(row.mixer, row.length): row for row in rows if not row.failure}
    texts = ["", *(str(Mixer.parse(one) if isinstance(one, str) else one) for one in mixers)]
    wanted = [(text, length) for length in sorted(lengths) for text in texts]
    own, found = model.config._attn_implementation, list[SwapSpeed]()
    try:
        for number, (text, length) in enumerate(wanted):
            row = known.get((text, length))
            if row is None:
                row = _measured(model, own, text, length)
                kept.add(asdict(row))
            found.append(row)
            if progress is not None:
                progress(number + 1, len(wanted))
    finally:
        model.set_attn_implementation(own)
    return found


def _measured(model: PreTrainedModel, own: str, mixer: str, length: int) -> SwapSpeed:
    """Return the costs of one mixer at one length."""
    part = None
    if mixer:
        use_attention(model, part := Mixer.parse(mixer))
    else:
        model.set_attn_implementation(own)
    streams = model.can_generate() and (part is None or "streaming" in part.abilities)
    try:
        with memory_limit() if model.device.type == "cpu" else nullcontext():  # a GPU's allocator raises by itself
            return SwapSpeed(mixer, length, **generation_costs(model, length, streams=streams))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return SwapSpeed(mixer, length, failure="out of memory")


def generation_costs(model: PreTrainedModel, length: int, *, streams: bool = True) -> dict[str, Any]:
    """Return the costs of reading a prompt of `length` tokens in one row, and of each token after it.

    Keys: prefill_seconds, token_seconds, cache_bytes, peak_bytes, as in `SwapSpeed`. The cache is the one that
    `generate` takes: Hugging Face's, an `AttentionCache`, or the `StateCache` of a model of this library.

    Args:
        streams: whether the model keeps a state at all; else the prompt alone is timed.
    """
    ids = torch.arange(length, device=model.device)[None] % model.config.vocab_size
    # a row of scores for each token of a long prompt would take more than all else, and generation needs the last alone
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    can_reset = reset_peak(model.device)
    with evaluating(model):
        begin = _now(model)
        cache = getattr(model(input_ids=ids, **_cache_options(model, streams), **last), "past_key_values", None)
        prefill = _now(model) - begin
        steps = _token_seconds(model, cache, last) if streams else None
    return {
        "prefill_seconds": prefill,
        "token_seconds": steps,
        "cache_bytes": cache_bytes(cache) if streams else None,
        "peak_bytes": peak_bytes(model.device) if can_reset else None,
    }


def cache_bytes(cache: Cache) -> int:
    """Return the bytes of the keys, values or states in a cache, as they are after the last token."""
    if isinstance(cache, (AttentionCache, StateCache)):
        return cache.nbytes
    tensors = (tensor for layer in cache.layers for tensor in (layer.keys, layer.values))
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


def _cache_options(model: PreTrainedModel, streams: bool) -> dict[str, Any]:
    """Return the arguments that start a pass on the cache that `generate` would take."""
    if not streams:
        return {"use_cache": False} if model.can_generate() else {}
    if model.config._attn_implementation.startswith("formers:"):
        return {"use_cache": True, "past_key_values": AttentionCache()}
    if model.config.model_type == "formers":
        return {"use_cache": True}
    return {"use_cache": True, "past_key_values": DynamicCache(config=model.config)}


def _token_seconds(model: PreTrainedModel, cache: Cache, last: dict[str, int]) -> float:
    """Return the time of one token after those in the cache, the mean of some."""
    token = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    model(input_ids=token, past_key_values=cache, use_cache=True, **last)
    begin = _now(model)
    for _ in range(_STEPS):
        model(input_ids=token, past_key_values=cache, use_cache=True, **last)
    return (_now(model) - begin) / _STEPS


def _now(model: PreTrainedModel) -> float:
    """Return the time in seconds, when all that a GPU has been given is done."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()
