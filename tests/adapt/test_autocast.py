"""Adapted models under autocast, where positions and norms leave queries and keys in float32, and values are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from formers.adapt import convert, use_attention

from .families import DECODERS, VOCABULARY, made

MIXERS = ["softmax()", "window(6) | sinks(2)", "linear(feature=taylor2)"]
ALLOWED = 8 * torch.finfo(torch.bfloat16).eps
"""Of the largest score: some roundings to bfloat16 in each of two layers."""


def adapted(family: str, mixer: str, way: str) -> PreTrainedModel:
    model = made(DECODERS[family]).float()
    return use_attention(model, mixer) if way == "use_attention" else convert(model, mixer).model.eval()


def ids() -> Tensor:
    return torch.randint(3, VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("way", ["use_attention", "convert"])
@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_a_model_computes_the_same_under_autocast_and_learns(family: str, mixer: str, way: str) -> None:
    model = adapted(family, mixer, way)
    with torch.no_grad():
        want = model(input_ids=ids(), use_cache=False).logits
    with torch.autocast("cpu", torch.bfloat16):
        got = model(input_ids=ids(), use_cache=False).logits
        got.square().mean().backward()
    assert got.dtype == torch.bfloat16
    assert float((got.detach() - want).abs().max()) <= ALLOWED * float(want.abs().max())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_steps_from_states_are_one_pass_under_autocast(family: str, mixer: str) -> None:
    model = adapted(family, mixer, "use_attention")
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": -1}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = model.generate(ids(), output_logits=True, return_dict_in_generate=True, **options)
        whole = model(input_ids=made.sequences, use_cache=False).logits[:, -5:-1]
    steps = torch.stack(made.logits, 1).float()
    assert float((steps - whole).abs().max()) <= ALLOWED * float(whole.abs().max())
