"""Layers with a window of their own, in all layers or in some, keep it under a mixer; and what masks tell is copied."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel

from formers.adapt import AttentionCache, use_attention
from formers.adapt.padding_mask import facts_of, padding_mask
from formers.adapt.swap_plan import state_bytes_of_layers, state_bytes_per_layer
from formers.mixers import Softmax
from formers.part import Unsupported
from formers.testing.compare import ROUNDING, assert_same

from .families import DECODERS, ENCODERS, GROUPED, VOCABULARY, made

WINDOW = {"sliding_window": 5}
GEMMA = WINDOW | {"head_dim": 8, "layer_types": ["sliding_attention", "full_attention"]}
WINDOWED: dict[str, dict[str, Any]] = {
    "mistral": WINDOW,
    "phi3": WINDOW | {"pad_token_id": 0},
    "starcoder2": WINDOW,
    "qwen2": WINDOW | {"use_sliding_window": True, "max_window_layers": 1},
    "gemma2": GEMMA | {"attn_logit_softcapping": None},
    "gemma3_text": GEMMA,
    "cohere2": GEMMA,
    "modernbert": {"local_attention": 10, "pad_token_id": 0, "layer_types": ["full_attention", "sliding_attention"]},
}


def model_of(kind: str, **options: Any) -> PreTrainedModel:
    config = AutoConfig.for_model(kind, **GROUPED, **(WINDOWED[kind] | options))
    return made(lambda: (AutoModelForMaskedLM if kind == "modernbert" else AutoModelForCausalLM).from_config(config))


def ids() -> Tensor:
    return torch.randint(3, VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(1))


def output(model: PreTrainedModel, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids(), attention_mask=mask)[0]


@pytest.mark.parametrize("kind", WINDOWED)
@pytest.mark.parametrize("mixer", ["softmax()", "window(40)"])
def test_a_mixer_that_sees_all_pairs_changes_nothing(kind: str, mixer: str) -> None:
    model, mask = model_of(kind), torch.ones_like(ids())
    mask[1, 12:] = 0
    want, alone = output(model), model(input_ids=ids()[1:, :12])[0][0].detach()  # padding makes Gemma 2's own NaN
    got = output(use_attention(model, mixer), mask)
    wider = output(model_of(kind, **({"local_attention": 60} if kind == "modernbert" else {"sliding_window": 30})))
    largest = float(want[0].abs().max())
    assert float((wider - want)[0].abs().max()) > 1e-2 * largest  # the window is felt
    eager = torch.finfo(torch.float32).eps if kind == "gemma2" else 0.0  # its own attention rounds its weights
    scale = max(ROUNDING, 4 * eager) * largest
    assert_same(got[0], want[0], f"{kind} with {mixer}", scale)
    assert_same(got[1, :12], alone, f"{kind} with {mixer}, padded", scale)


def test_a_pattern_is_what_lies_in_the_window_too() -> None:
    """Hugging Face's eager attention with the pairs as a mask (B, 1, L, L) is the reference."""
    model, place = model_of("mistral"), torch.arange(20)
    far = place[:, None] - place
    seen = (far >= 0) & (far < 5) & ((far < 3) | (place < 2))
    want = output(model, torch.zeros(2, 1, 20, 20, dtype=torch.float64).masked_fill(~seen, -torch.inf))
    got = output(use_attention(model, "window(3) | sinks(2)"))
    assert_same(got, want, "a window with sinks in a window", ROUNDING * float(want.abs().max()))


@pytest.mark.parametrize("kind", ["mistral", "gemma3_text", "cohere2"])
def test_generation_from_states_equals_recomputation(kind: str) -> None:
    model = use_attention(model_of(kind), "softmax()")
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    want = model_of(kind).generate(ids(), **options)  # its own attention, over its own cache
    assert torch.equal(model.generate(ids(), **options), want)
    assert torch.equal(model.generate(ids(), use_cache=False, **options), want)


def test_a_layer_with_a_window_keeps_no_more_than_it() -> None:
    model, sizes = use_attention(model_of("gemma3_text"), "softmax()"), []
    for length in (10, 20):
        cache = AttentionCache()
        with torch.no_grad():
            model(input_ids=ids()[:, :length], past_key_values=cache, use_cache=True)
        sizes.append([layer.state.nbytes for layer in cache.layers])
    assert sizes[0][0] == sizes[1][0]  # of the window
    assert sizes[0][1] < sizes[1][1]  # of all keys


def test_a_mixer_without_a_pattern_stands_where_there_is_no_window_alone() -> None:
    for kind in ("mistral", "gemma2"):
        with pytest.raises(Unsupported, match=r"linear\(\) has no pattern, and the layer sees a window of 5 tokens"):
            use_attention(model_of(kind), "linear()")
    use_attention(model_of("gemma2"), ["softmax()", "linear()"])
    free = model_of("mistral")
    free.config.sliding_window = None
    use_attention(free, "linear()")
    with pytest.raises(Unsupported, match="a cap on its scores"):
        use_attention(model_of("gemma2", attn_logit_softcapping=50.0), "softmax()")


@pytest.mark.parametrize("kind", ["llama", "gemma3_text", "bert"])
def test_masks_that_are_copied_to_another_device_tell_the_same(kind: str) -> None:
    """As accelerate does before each layer of a model over several GPUs."""
    makers = DECODERS | ENCODERS
    model = use_attention(made(makers[kind]) if kind in makers else model_of(kind), "window(3)")
    want, copied = output(model), list[bool]()

    def copy(module: Any, args: Any, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        mask = given["attention_mask"].to("cpu", copy=True)
        copied.append(mask is not given["attention_mask"])
        return args, given | {"attention_mask": mask}

    layers = [m for name, m in model.named_modules() if name.endswith((".self_attn", ".attention.self"))]
    for layer in layers:
        layer.register_forward_pre_hook(copy, with_kwargs=True)
    assert torch.equal(output(model), want)
    assert copied == [True, True]


def test_every_way_to_copy_a_mask_keeps_what_it_tells() -> None:
    mask = padding_mask(2, 4, 4, attention_mask=torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]]))
    facts = facts_of(mask)
    assert facts is not None
    assert facts.causal
    assert not facts.new_are_real
    copies = (mask.to("meta"), mask.clone(), mask.to("cpu", copy=True, non_blocking=True), mask.detach(), mask[:1])
    assert all(facts_of(copy) == facts for copy in copies)
    assert facts_of(mask.plain()) is None


@pytest.mark.parametrize("kind", ["mistral", "gemma3_text", "qwen2"])
def test_states_are_counted_within_the_windows(kind: str) -> None:
    model, cache = use_attention(model_of(kind), "softmax()"), AttentionCache()
    with torch.no_grad():
        model(input_ids=ids()[:1], past_key_values=cache, use_cache=True)
    held = cache.nbytes
    assert state_bytes_of_layers(model, Softmax(), 20) == held
    if kind == "mistral":
        assert 2 * state_bytes_per_layer(model, Softmax(), 20) == held
    else:
        with pytest.raises(Unsupported, match="no one size to plan with"):
            state_bytes_per_layer(model, Softmax(), 20)
