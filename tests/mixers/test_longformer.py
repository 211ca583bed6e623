"""Longformer with global tokens of each row, against transformers' own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LongformerConfig
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

from formers import Unsupported
from formers.mixers import Longformer
from formers.mixers.documents import GlobalMask
from formers.models import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, TransformerConfig
from formers.positions import Alibi, Rotary
from formers.testing import assert_same, build, naive_ops, padding_mask, tokens
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import SITE

LENGTH = 80
"""A multiple of their window, as their layer wants it."""


def marks(*rows: tuple[int, ...], length: int = LENGTH) -> Tensor:
    """Which tokens are global in each row."""
    marked_bl = torch.zeros(len(rows), length, dtype=torch.bool)
    for b, row in enumerate(rows):
        marked_bl[b, list(row)] = True
    return marked_bl


def theirs(module: Any, window: int) -> LongformerSelfAttention:
    """Their layer with our weights."""
    config = LongformerConfig(
        hidden_size=24, num_attention_heads=3, attention_window=[2 * window], attention_probs_dropout_prob=0.0
    )
    layer = LongformerSelfAttention(config, 0).double().eval()
    for name, letter in (("query", "q"), ("key", "k"), ("value", "v")):
        getattr(layer, name).load_state_dict(getattr(module, f"{letter}_proj").state_dict())
        getattr(layer, f"{name}_global").load_state_dict(getattr(module, f"{letter}_proj_global").state_dict())
    return layer


@pytest.mark.parametrize("rows", [((0,), (3, 50, 51)), ((7, 8), (0, 20)), ((), (5,))], ids=str)
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_global_tokens_of_each_row_are_transformers(rows: tuple[tuple[int, ...], ...], padded: bool) -> None:
    module: Any = build(Longformer(window=(8,), bias=True), causal=False)
    nn.init.eye_(module.o_proj.weight)
    nn.init.zeros_(module.o_proj.bias)
    x, global_bl = tokens(2, LENGTH), marks(*rows)
    mask_bl = torch.ones(2, LENGTH, dtype=torch.bool)
    mask_bl[0, -11:] = not padded
    kinds = torch.where(mask_bl, torch.where(global_bl, 1e4, 0.0), -1e4).double()
    [want] = theirs(module, 8)(
        x,
        attention_mask=kinds,
        is_index_masked=kinds < 0,
        is_index_global_attn=kinds > 0,
        is_global_attn=bool((kinds > 0).any()),
    )
    got, _ = module(x, mask_bl=GlobalMask(mask_bl if padded else None, global_bl))
    assert_same(got[mask_bl], want[mask_bl], "output", 1e-6)  # their softmax is in float32


@pytest.mark.parametrize("position", [None, Rotary(), Alibi()], ids=str)
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_equals_the_naive_form(position: Any, padded: bool) -> None:
    part = Longformer(window=(5,), dilation=(1, 2, 3), tokens=(0,), bias=True)
    module = build(part, causal=False, site=replace(SITE, position=position))
    mask = GlobalMask(padding_mask() if padded else None, marks((0, 60), (30, 31, 32), length=77))
    found = outputs_and_gradients(module, tokens(), mask_bl=mask)
    with naive_ops():
        want = outputs_and_gradients(module, tokens(), mask_bl=mask)
    for name, value in want.items():
        assert_same(found[name], value, name, 1e-10)


@pytest.mark.parametrize("width", [24, 240], ids=["projected", "folded"])
def test_rows_that_agree_are_as_the_option_says(width: int) -> None:
    """Wide models do not project the keys of few global tokens; rows of their own are computed the same way."""
    part = Longformer(window=(5,), tokens=(2, 70), bias=True)
    module, x = build(part, causal=False, site=replace(SITE, width=width)), tokens(width=width)
    want = outputs_and_gradients(module, x)
    found = outputs_and_gradients(module, x, mask_bl=GlobalMask(None, marks((2, 70), (2, 70), length=77)))
    for name, value in want.items():
        assert_same(found[name], value, name, 1e-10)


def test_rows_without_a_global_token_reach_every_parameter() -> None:
    for part, mask in (
        (Longformer(), GlobalMask(None, marks((), (), length=77))),
        (Longformer(tokens=(90,)), None),  # beyond the end
    ):
        found = outputs_and_gradients(build(part, causal=False), tokens(), mask_bl=mask)
        assert not found["gradient of q_proj_global.weight"].any()
        module = build(part, causal=False)
        module(tokens(), mask_bl=mask)[0].sum().backward()
        assert all(p.grad is not None for p in module.parameters())


def config(**given: Any) -> TransformerConfig:
    sizes: dict[str, Any] = {"vocab_size": 50, "width": 24, "depth": 2, "heads": 3, "context_length": 40}
    return TransformerConfig(**{**sizes, "mixer": Longformer(window=(2,)), "position": "sinusoidal", **given})


@pytest.mark.parametrize("head", [MaskedLM, TokenClassifier, SequenceClassifier])
def test_models_take_global_tokens(head: Any) -> None:
    """A batch of questions of different lengths, padded: as each alone, and another answer than without the marks."""
    model = head(config(initializer_range=0.3)).eval()
    ids = torch.randint(50, (2, 30), generator=torch.Generator().manual_seed(0))
    mask, question = torch.ones(2, 30, dtype=torch.long), marks((0, 1, 2), (0, 1, 2, 3, 4, 5), length=30).long()
    mask[1, 21:] = 0
    both = model(ids, mask, global_attention_mask=question).logits
    alone = model(ids[1:, :21], global_attention_mask=question[1:, :21]).logits
    assert_same(both[1:] if head is SequenceClassifier else both[1:, :21], alone, "logits", 1e-5)
    assert (both - model(ids, mask).logits)[0].abs().max() > 1e-3


def test_packed_documents_have_global_tokens_of_their_own() -> None:
    model, ids = MaskedLM(config()).eval(), torch.arange(30)[None]
    positions = torch.cat([torch.arange(12), torch.arange(18)])[None]
    question = marks((0, 3, 12, 20), length=30).long()
    packed = model(ids, position_ids=positions, global_attention_mask=question).logits
    for piece in (slice(0, 12), slice(12, 30)):
        alone = model(ids[:, piece], global_attention_mask=question[:, piece]).logits
        assert_same(packed[:, piece], alone, "logits", 1e-5)


def test_gradients_are_the_same_checkpointed() -> None:
    model, ids = MaskedLM(config()).train(), torch.arange(30)[None]
    given = {"global_attention_mask": marks((0, 9), length=30).long(), "labels": ids}
    model(ids, **given).loss.backward()
    want = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model(ids, **given).loss.backward()
    assert all(torch.equal(p.grad, want[name]) for name, p in model.named_parameters() if p.grad is not None)


def test_what_cannot_be_says_so() -> None:
    ids, question = torch.arange(12)[None], marks((0,), length=12).long()
    causal = CausalLM(config()).eval()
    with pytest.raises(Unsupported, match=r"longformer\(window=\[2\]\) takes no global_attention_mask in a causal"):
        causal(ids, global_attention_mask=question)
    with pytest.raises(Unsupported, match="in a causal model"):
        causal.generate(ids, global_attention_mask=question, max_new_tokens=2, pad_token_id=0)
    with pytest.raises(Unsupported, match=r"softmax\(\) cannot be global_tokens .*leave global_attention_mask out"):
        MaskedLM(config(mixer="softmax"))(ids, global_attention_mask=question)
    with pytest.raises(Unsupported, match="cannot be global_tokens"):
        MaskedLM(config(mixer=[Longformer(window=(2,)), "linear"]))(ids, global_attention_mask=question)
    with pytest.raises(Unsupported, match="cannot be global_tokens"):
        MaskedLM(config(mixer=Longformer(window=(2,), tokens=())))(ids, global_attention_mask=question)
    model = MaskedLM(config())
    with pytest.raises(ValueError, match=r"shape \(1, 11\); expected \(batch, length\) = \(1, 12\)"):
        model(ids, global_attention_mask=question[:, 1:])
    with pytest.raises(ValueError, match="1 for a global token"):
        model(ids, global_attention_mask=2 * question)
    with pytest.raises(Unsupported, match="without compiling"):
        torch.export.export(model, (ids,), {"global_attention_mask": question})
