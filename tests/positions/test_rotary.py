"""Rotary positions against their formula and against the rotations of Llama and GPT-J."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as gptj_rotate
from transformers.models.gptj.modeling_gptj import create_sinusoidal_positions
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb as llama_rotate

from formers.part import Site
from formers.positions import Rotary
from formers.testing import assert_same

SITE = Site(width=96, heads=3, causal=True, context_length=512)  # K = 32
LENGTH = 77
POSITIONS = torch.arange(LENGTH).unsqueeze(0)
ROUNDING = 2 * torch.finfo(torch.float32).eps
"""Of one product in float32, relative to the larger factor."""


def heads(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 3, LENGTH, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def llama(**rope: object) -> LlamaConfig:
    rope = {"rope_type": "default", "rope_theta": 10000.0} | rope
    return LlamaConfig(hidden_size=96, num_attention_heads=3, max_position_embeddings=512, rope_parameters=rope)


@pytest.mark.parametrize("layout", ["half", "interleaved"])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_pairs_turn_by_the_formula(layout: str, fraction: float) -> None:
    x, rotated = heads(), int(32 * fraction)
    got = Rotary(layout=layout, fraction=fraction, base=500, offset=3).build(SITE)(x, POSITIONS)
    want = x.clone()
    for m in range(rotated // 2):
        a, b = (2 * m, 2 * m + 1) if layout == "interleaved" else (m, m + rotated // 2)
        theta = 500.0 ** (-2 * m / rotated)
        cos, sin = (
            ((torch.arange(LENGTH).double() + 3) * theta).cos(),
            ((torch.arange(LENGTH).double() + 3) * theta).sin(),
        )
        want[..., a] = x[..., a] * cos - x[..., b] * sin
        want[..., b] = x[..., a] * sin + x[..., b] * cos
    assert_same(got, want, "rotated heads")


def test_the_half_layout_is_llamas() -> None:
    x = heads(torch.float32)
    cos, sin = LlamaRotaryEmbedding(llama())(x, POSITIONS)
    want, _ = llama_rotate(x, x, cos, sin)
    got = Rotary().build(SITE)(x, POSITIONS)
    # Llama's frequencies are rounded once more, by one unit at most, which `position` multiplies
    assert_same(got, want, "half layout", ROUNDING * LENGTH * float(x.abs().max()))


def test_the_interleaved_layout_is_gpt_js() -> None:
    x = heads(torch.float32)
    sin, cos = create_sinusoidal_positions(LENGTH, 32).split(16, -1)
    want = gptj_rotate(x.transpose(1, 2), sin[None], cos[None]).transpose(1, 2)
    got = Rotary(layout="interleaved").build(SITE)(x, POSITIONS)
    assert_same(got, want, "interleaved layout", ROUNDING * LENGTH * float(x.abs().max()))


def scaled(part: Rotary) -> tuple[Tensor, float]:
    """θ as a model in float32 uses it, and the magnitude."""
    theta, magnitude = part.build(SITE).angles_per_token(torch.device("cpu"))
    assert theta.dtype == torch.float64
    return theta.float(), magnitude


def test_linear_scaling_is_transformers() -> None:
    want, factor = ROPE_INIT_FUNCTIONS["linear"](llama(rope_type="linear", factor=4.0), None)
    got, ours = scaled(Rotary(scaling="linear", factor=4))
    torch.testing.assert_close(got, want, rtol=ROUNDING, atol=0)
    assert ours == factor


def test_ntk_scaling_is_transformers_dynamic_one_at_the_longest_length() -> None:
    # dynamic: base · (f·s/m − (f − 1))^(K/(K−2)) at length s of m trained; with f = 1 that is our factor s/m
    want, factor = ROPE_INIT_FUNCTIONS["dynamic"](llama(rope_type="dynamic", factor=1.0), None, seq_len=4 * 512)
    got, ours = scaled(Rotary(scaling="ntk", factor=4))
    torch.testing.assert_close(got, want, rtol=8 * ROUNDING, atol=0)
    assert ours == factor


@pytest.mark.parametrize("factor", [2.0, 4.0, 40.0])
@pytest.mark.parametrize("trained", [64, 512, 4096])
@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_yarn_scaling_is_transformers(factor: float, trained: int, base: float) -> None:
    config = llama(rope_type="yarn", factor=factor, original_max_position_embeddings=trained, rope_theta=base)
    want, magnitude = ROPE_INIT_FUNCTIONS["yarn"](config, None)
    got, ours = scaled(Rotary(scaling="yarn", factor=factor, trained_length=trained, base=base))
    torch.testing.assert_close(got, want, rtol=8 * ROUNDING, atol=0)
    assert ours == pytest.approx(magnitude)


def test_yarn_was_trained_on_the_context_length_over_the_factor() -> None:
    given = scaled(Rotary(scaling="yarn", factor=4, trained_length=128))[0]
    assert torch.equal(scaled(Rotary(scaling="yarn", factor=4))[0], given)


@pytest.mark.parametrize("factor", [2.0, 8.0])
@pytest.mark.parametrize("trained", [64, 512, 8192])
@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_llama3_scaling_is_transformers(factor: float, trained: int, base: float) -> None:
    turns = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": trained}
    want, _ = ROPE_INIT_FUNCTIONS["llama3"](llama(rope_type="llama3", factor=factor, rope_theta=base, **turns), None)
    got, ours = scaled(Rotary(scaling="llama3", factor=factor, trained_length=trained, base=base))
    torch.testing.assert_close(got, want, rtol=8 * ROUNDING, atol=0)
    assert ours == 1.0


def test_scores_of_far_tokens_keep_their_precision_in_bfloat16() -> None:
    x, far = heads(), POSITIONS + 100_000
    module = Rotary().build(SITE)
    off = (module(x.bfloat16(), far).double() - module(x, far)).abs().max()
    assert off < 4 * torch.finfo(torch.bfloat16).eps * float(x.abs().max())


def test_widths_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="rotates pairs, but a head is 5 wide"):
        Rotary().build(replace(SITE, width=15))
    Rotary(fraction=0.8).build(replace(SITE, width=15))


@pytest.mark.parametrize("fraction", [0.0, 1.5])
def test_fractions_lie_between(fraction: float) -> None:
    with pytest.raises(ValueError, match="base must be above 1"):
        Rotary(base=1.0, scaling="yarn", factor=2.0)
    with pytest.raises(ValueError, match="fraction must lie in"):
        Rotary(fraction=fraction)
