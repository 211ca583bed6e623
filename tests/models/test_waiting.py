"""A model looks at its inputs once in a forward pass, and at nothing in a step of generation."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from formers.models import CausalLM, TransformerConfig
from formers.ops.common import readable


class Reads(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.count += getattr(operator, "overloadpacket", operator).__name__ in ("_local_scalar_dense", "nonzero")
        return operator(*args, **(kwargs or {}))


@pytest.fixture
def reads(monkeypatch):
    monkeypatch.setattr(readable, "_FREE", frozenset())
    reads = Reads()
    tolist = torch.Tensor.tolist

    def counted(t):
        reads.count += 1
        return tolist(t)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    return reads


POSITIONS = ("rotary()", "alibi()", "t5()", "learned()")
SCORING = ("softmax()", "window(4)", "bigbird()")
"""Mixers that form scores, on which positions may act."""


@pytest.mark.parametrize(
    ("mixer", "position"),
    [*itertools.product(SCORING, POSITIONS), ("linear()", "rotary()"), ("linear()", "learned()")],
)
def test_padding_is_looked_at_once_and_steps_at_nothing(mixer, position, reads):
    config = TransformerConfig(width=32, depth=3, heads=2, mixer=mixer, position=position, vocab_size=20)
    model = CausalLM(config).eval()
    ids, mask = torch.randint(20, (2, 9)), torch.ones(2, 9, dtype=torch.long)
    mask[0, :3] = 0
    with torch.no_grad():
        model(ids, attention_mask=mask)  # tables of a pattern are made once
        reads.count = 0
        with reads:
            cache = model(ids, attention_mask=mask.clone()).past_key_values
        assert reads.count <= 1 + (position in ("t5()", "learned()")) + (mixer == "bigbird()")
        if cache is None:
            return
        mask = torch.cat([mask, mask.new_ones(2, 1)], 1)
        inputs = model.prepare_inputs_for_generation(
            torch.cat([ids, ids[:, :1]], 1),
            next_sequence_length=1,
            past_key_values=cache,
            attention_mask=mask,
            is_first_iteration=False,
        )
        reads.count = 0
        with reads:
            model(**inputs)
        assert reads.count == 0
