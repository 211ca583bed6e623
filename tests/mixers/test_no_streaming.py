"""What cannot stream refuses a state and says why, and still generates, without a cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers.mixers import BigBird, Lsh, Mixer, Routing, Softmax
from formers.models import CausalLM, StateCache, TransformerConfig
from formers.part import Unsupported
from formers.testing import build, tokens

REASONS = [
    (Lsh(), r"lsh\(\) has no streaming state: .*every bucket in every round"),
    (Routing(), r"routing\(\) has no streaming state: .*every cluster"),
    (BigBird(), r"bigbird\(\) has no streaming state"),
]
BOTH = pytest.mark.parametrize(("part", "reason"), REASONS, ids=lambda value: str(value)[:12])


@BOTH
def test_a_state_is_refused(part: Mixer, reason: str) -> None:
    _, state = build(Softmax(), causal=True)(tokens())
    module = build(part, causal=True)
    assert module(tokens())[1] is None
    with pytest.raises(Unsupported, match=reason):
        module(tokens(length=1), state)


@BOTH
def test_a_model_says_why_and_generates_without_a_cache(part: Mixer, reason: str) -> None:
    torch.manual_seed(0)
    sizes: Any = {"vocab_size": 11, "width": 24, "heads": 3, "depth": 2, "context_length": 64}
    model = CausalLM(TransformerConfig(mixer=["softmax()", part], **sizes)).eval()
    ids = torch.randint(11, (2, 9))
    with pytest.raises(Unsupported, match=reason):
        model(ids, past_key_values=StateCache())
    with pytest.raises(Unsupported, match=reason):
        model(ids, use_cache=True)
    assert model(ids).past_key_values is None
    got = model.generate(ids, max_new_tokens=4, do_sample=False)
    want = ids
    for _ in range(4):
        want = torch.cat([want, model(want).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(got, want)
