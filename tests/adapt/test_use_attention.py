"""Pretrained models take our mixers through Hugging Face's attention interface, or are refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from formers.adapt import AttentionCache, register, use_attention
from formers.adapt.attention_core import attention_core
from formers.mixers import Mixer
from formers.part import Unsupported
from formers.testing.compare import ROUNDING, assert_same

from .families import DEAF, DECODERS, ENCODERS, VOCABULARY, made

ALL = DECODERS | ENCODERS


def ids(length: int = 20) -> Tensor:
    return torch.randint(3, VOCABULARY, (2, length), generator=torch.Generator().manual_seed(1))


def output(model: PreTrainedModel, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=mask)[0]


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize("mixer", ["softmax()", "window(200)", "sparse(pattern=every())"])
def test_a_mixer_that_sees_all_pairs_changes_nothing(family: str, mixer: str) -> None:
    model = made(ALL[family])
    mask = torch.ones_like(ids())
    mask[1, 12:] = 0
    want = output(model, ids(), mask)
    got = output(use_attention(model, mixer), ids(), mask)
    scale = ROUNDING * float(want.abs().max())
    assert_same(got[0], want[0], f"{family} with {mixer}", scale)
    assert_same(got[1, :12], want[1, :12], f"{family} with {mixer}, padded", scale)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_window_is_the_model_with_a_mask_of_its_own(family: str) -> None:
    """Hugging Face's eager attention with the pairs as a mask (B, 1, L, L) is the reference."""
    model = made(ALL[family])
    place = torch.arange(20)
    far = place[:, None] - place
    seen = (far >= 0) & ((far < 5) | (place < 2)) if family == "llama" else (far.abs() <= 5) | (place < 2)
    hidden = torch.zeros(2, 1, 20, 20, dtype=torch.float64).masked_fill(~seen, -torch.inf)
    want = output(model, ids(), hidden)
    got = output(use_attention(model, "window(5) | sinks(2)"), ids())
    assert_same(got, want, f"{family} over a window with sinks", ROUNDING * float(want.abs().max()))


@pytest.mark.parametrize("family", DECODERS)
@pytest.mark.parametrize("mixer", ["softmax()", "window(6) | sinks(2)", "linear()"])
def test_generation_from_states_equals_recomputation(family: str, mixer: str) -> None:
    model = use_attention(made(DECODERS[family]), mixer)
    mask = torch.ones_like(ids())
    mask[1, :7] = 0
    options = {"max_new_tokens": 16, "do_sample": False, "pad_token_id": 0, "eos_token_id": -1, "attention_mask": mask}
    want = model.generate(ids(), use_cache=False, **options)
    assert torch.equal(model.generate(ids(), **options), want)
    assert torch.equal(model.generate(ids(), past_key_values=AttentionCache(), **options), want)
    beams = {"num_beams": 3} | options
    assert torch.equal(model.generate(ids(), **beams), model.generate(ids(), use_cache=False, **beams))


@pytest.mark.parametrize(("mixer", "grows"), [("softmax()", 1), ("window(8) | sinks(2)", False), ("linear()", False)])
def test_the_cache_is_of_the_size_that_the_mixer_needs(mixer: str, grows: int) -> None:
    model = use_attention(made(DECODERS["llama"]), mixer)
    sizes = []
    for length in (16, 64):
        cache = AttentionCache()
        with torch.no_grad():
            model(input_ids=ids(length), past_key_values=cache, use_cache=True)
            model(input_ids=ids(1), past_key_values=cache, use_cache=True)
        assert cache.get_seq_length() == length + 1
        sizes.append(cache.nbytes)
    assert (sizes[1] > 2 * sizes[0]) == grows


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_gradients_reach_every_weight(family: str) -> None:
    model = use_attention(made(ALL[family]), "window(4)").train()
    model.config.attention_dropout = 0.0
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model(input_ids=ids())[0].square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None and "pooler" not in n]
    assert not without


@pytest.mark.parametrize("family", DEAF)
def test_a_family_that_ignores_the_name_is_named_and_left_as_it_was(family: str) -> None:
    model = made(DEAF[family])
    before = copy.deepcopy(model)
    with pytest.raises(Unsupported, match=rf"{type(model).__name__} .*ignores it"):
        use_attention(model, "window(4)")
    assert torch.equal(output(model, ids()), output(before, ids()))


def test_what_a_mixer_would_not_see_is_refused() -> None:
    with pytest.raises(Unsupported, match="knows no other weights"):
        register("metric()")
    with pytest.raises(Unsupported, match="knows no other weights"):
        register("fourier()")
    with pytest.raises(ValueError, match="windw"):
        register("windw(8)")
    model = use_attention(made(DECODERS["llama"]), "window(8)")
    cache = model(input_ids=ids(), use_cache=True).past_key_values
    with pytest.raises(Unsupported, match="AttentionCache"):
        model(input_ids=ids(1), past_key_values=cache)
    with pytest.raises(Unsupported, match="Give each sequence a row"):
        model(input_ids=ids(), position_ids=torch.arange(10).repeat(2)[None].expand(2, -1), use_cache=False)
    dropping = made(DECODERS["llama"])
    dropping.model.layers[0].self_attn.attention_dropout = 0.1
    use_attention(dropping, "window(8)").train()
    with pytest.raises(Unsupported, match="drops attention weights"):
        dropping(input_ids=ids())


def test_a_mixer_without_a_state_reads_everything_again() -> None:
    model = use_attention(made(DECODERS["llama"]), "blockwise([1, 0])")
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": -1}
    assert torch.equal(model.generate(ids(), **options), model.generate(ids(), use_cache=False, **options))
    with pytest.raises(Unsupported, match=r"has no streaming state.*use_cache=False"):
        model(input_ids=ids(), past_key_values=AttentionCache(), use_cache=True)


def test_the_name_works_where_a_model_is_loaded(tmp_path: object) -> None:
    made(DECODERS["llama"]).save_pretrained(tmp_path)
    loaded = type(made(DECODERS["llama"])).from_pretrained(tmp_path, attn_implementation=register("window(3)"))
    used = use_attention(made(DECODERS["llama"]), "window(3)")
    assert_same(output(loaded, ids()), output(used, ids()), "loaded by name", ROUNDING)
    used.set_attn_implementation("sdpa")
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": -1}
    want = made(DECODERS["llama"]).generate(ids(), **options)
    assert torch.equal(used.generate(ids(), **options), want)  # its own attention again, and its own cache


@pytest.mark.parametrize("mixer", ["softmax(bias=True)", "softmax(kv_heads=1)", "linear(bias=True)"])
def test_options_of_projections_are_refused_as_those_are_the_models_own(mixer: str) -> None:
    with pytest.raises(ValueError, match="would be ignored"):
        attention_core(Mixer.parse(mixer), heads=2, head_width=4, causal=True, layer=0, longest=16)


@pytest.mark.parametrize("mixer", ["performer", "linear(feature=favor(kind=trigonometric))"])
def test_what_was_first_run_without_gradients_trains(mixer: str) -> None:
    """The model is checked in inference mode, which makes the tensors of a mixer that are kept."""
    attention_core.cache_clear()
    model = use_attention(made(DECODERS["llama"]), mixer).train()
    model(ids(), labels=ids(), use_cache=False).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())
