"""`generate(cache_implementation="static")` on a GPU: the same tokens, from a step that is captured as a CUDA graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from formers import CausalLM, TransformerConfig
from formers.models import StaticStateCache

CHOICES = [("softmax()", "rotary()"), ("linear()", "none()"), ("dense()", "none()"), ("window(16)", "rotary()")]
EVERY_CHOICE = pytest.mark.parametrize(("mixer", "position"), CHOICES, ids=str)


@pytest.fixture(autouse=True)
def _needs_cuda(device: str) -> None:
    if device != "cuda":
        pytest.skip("on a CPU, tests/models/test_static_cache.py compiles a step without kernels")


def language_model(mixer: str, position: str, dtype: torch.dtype, device: str) -> CausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 97, "width": 64, "depth": 1, "heads": 2, "context_length": 128, "initializer_range": 0.3}
    return CausalLM(TransformerConfig(mixer=mixer, position=position, **sizes)).to(device, dtype).eval()


def prompt(device: str) -> torch.Tensor:
    return torch.randint(97, (3, 30), generator=torch.Generator().manual_seed(0)).to(device)


@EVERY_CHOICE
def test_tokens_are_those_of_states_that_grow(mixer: str, position: str, device: str) -> None:
    model, ids = language_model(mixer, position, torch.float64, device), prompt(device)
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    options: dict[str, Any] = {"attention_mask": mask, "max_new_tokens": 20, "do_sample": False, "pad_token_id": 0}
    torch.compiler.reset()
    counters.clear()
    want = model.generate(ids, **options)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(2):
            assert torch.equal(model.generate(ids, cache_implementation="static", **options), want)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    assert not counters["inductor"]["cudagraph_skips"]


@EVERY_CHOICE
def test_steps_in_bfloat16_wait_for_nothing(mixer: str, position: str, device: str) -> None:
    model, ids, cache = language_model(mixer, position, torch.bfloat16, device), prompt(device), StaticStateCache(64)
    torch.compiler.reset()
    step = torch.compile(model.__call__, mode="reduce-overhead", fullgraph=True, dynamic=False)
    with torch.inference_mode():
        model(ids, past_key_values=cache)
        token = ids[:, :1].clone()
        for _ in range(3):
            logits = step(input_ids=token, past_key_values=cache, use_cache=True).logits
        held = [t.data_ptr() for state in cache.states for t in state.tensors()]
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(5):
                logits = step(input_ids=token, past_key_values=cache, use_cache=True).logits
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(logits).all()
    assert held == [t.data_ptr() for state in cache.states for t in state.tensors()]
    assert int(cache.get_seq_length()) == 38
