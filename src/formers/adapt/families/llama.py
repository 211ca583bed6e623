"""Llama and the families that are written like it: Mistral, Ministral, Qwen2, Qwen3, SmolLM."""

from __future__ import annotations

from typing import Any

import torch

from formers.adapt.families.family import CAUSAL_LM, Family, Weights, activation, refuse
from formers.adapt.own_window import own_windows
from formers.ffn import Glu
from formers.mixers import Mixer, Softmax, Sparse
from formers.models import TransformerConfig
from formers.norms import RmsNorm
from formers.part import Unsupported
from formers.patterns import Window
from formers.positions import Rotary
from formers.residuals import PreNorm

_SCALINGS: dict[str, Any] = {"default": "none", "linear": "linear", "yarn": "yarn", "llama3": "llama3"}


def config_of(theirs: Any) -> TransformerConfig:
    """Return our configuration of a model that is written like Llama. Raise Unsupported for what ours cannot follow."""
    width, heads = theirs.hidden_size, theirs.num_attention_heads
    head_width = getattr(theirs, "head_dim", None) or width // heads
    refuse(theirs, {"mlp_bias": (False, "biases in the feed-forward")})
    return TransformerConfig(
        vocab_size=theirs.vocab_size,
        width=width,
        depth=theirs.num_hidden_layers,
        heads=heads,
        mixer=_mixers(theirs),
        position=_rotary(theirs),
        residual=PreNorm(),
        norm=RmsNorm(eps=theirs.rms_norm_eps),
        ffn=Glu(expand=theirs.intermediate_size / width, activation=activation(theirs, theirs.hidden_act)),
        head_width=None if head_width * heads == width else head_width,
        qk_norm=RmsNorm(eps=theirs.rms_norm_eps) if theirs.model_type == "qwen3" else None,
        causal=True,
        context_length=theirs.max_position_embeddings,
        tie_word_embeddings=theirs.tie_word_embeddings,
        initializer_range=theirs.initializer_range,
    )


def _mixers(theirs: Any) -> Mixer | list[Mixer]:
    """Return attention over all pairs, or over those of a window in layers that have one: a list where they differ."""
    kv_heads, bias = _groups(theirs), _has_biases(theirs)
    found: list[Mixer] = [
        Softmax(kv_heads=kv_heads, bias=bias)
        if window is None
        else Sparse(pattern=Window(window), kv_heads=kv_heads, bias=bias)
        for window in own_windows(theirs)
    ]
    return found[0] if len(set(found)) == 1 else found


def _groups(theirs: Any) -> int | None:
    """Return the heads of keys and values, where they are fewer than those of queries."""
    return None if theirs.num_key_value_heads == theirs.num_attention_heads else theirs.num_key_value_heads


def _has_biases(theirs: Any) -> bool:
    """Return whether projections have biases; Qwen2 has them on queries, keys and values alone."""
    return theirs.model_type == "qwen2" or bool(getattr(theirs, "attention_bias", False))


def _rotary(theirs: Any) -> Rotary:
    """Return the positions. Raise Unsupported for a scaling that ours do not know."""
    rope: dict[str, Any] = dict(theirs.rope_parameters)
    scaling = _SCALINGS.get(rope.get("rope_type", "default"))
    more = {"partial_rotary_factor", "attention_factor", "beta_fast", "beta_slow"} & rope.keys()
    if rope.get("partial_rotary_factor") == 1.0:
        more -= {"partial_rotary_factor"}
    usual = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    odd = [name for name, value in usual.items() if rope.get(name, value) != value]
    if scaling is None or more or odd:
        raise Unsupported(f"{theirs.model_type}: positions {rope} have no counterpart in rotary()")
    if scaling == "none":
        return Rotary(base=float(rope["rope_theta"]))
    trained = rope.get("original_max_position_embeddings") if scaling in ("yarn", "llama3") else None
    return Rotary(base=float(rope["rope_theta"]), scaling=scaling, factor=float(rope["factor"]), trained_length=trained)


def _to_ours(weights: Weights, theirs: Any) -> Weights:
    """Return the weights with a bias of zeros for the output projection of Qwen2, which has none."""
    if theirs.model_type != "qwen2":
        return weights
    added = {
        name.replace("q_proj.bias", "o_proj.bias"): torch.zeros(theirs.hidden_size, dtype=bias.dtype)
        for name, bias in weights.items()
        if name.endswith("q_proj.bias")
    }
    return weights | added


def _to_theirs(weights: Weights, theirs: Any) -> Weights:
    """Return the weights without the biases that Qwen2 has no place for. Raise Unsupported if they have learned."""
    if theirs.model_type != "qwen2":
        return weights
    learned = [name for name, bias in weights.items() if name.endswith("o_proj.bias") and bool(bias.any())]
    if learned:
        raise Unsupported(f"qwen2 has no bias on the output projection, but {learned[0]} is not zero")
    return {name: weight for name, weight in weights.items() if not name.endswith("o_proj.bias")}


LLAMA = Family(
    config=config_of,
    names=(
        (r"embed_tokens\.weight", r"embed_tokens.weight"),
        (r"layers\.(\d+)\.self_attn\.([qkvo]_proj)\.(weight|bias)", r"layers.\1.mixer.\2.\3"),
        (r"layers\.(\d+)\.self_attn\.([qk]_norm)\.weight", r"layers.\1.mixer.\2.weight"),
        (r"layers\.(\d+)\.mlp\.((?:gate|up|down)_proj)\.weight", r"layers.\1.ffn.\2.weight"),
        (r"layers\.(\d+)\.input_layernorm\.weight", r"layers.\1.mixer_norm.weight"),
        (r"layers\.(\d+)\.post_attention_layernorm\.weight", r"layers.\1.ffn_norm.weight"),
        (r"norm\.weight", r"norm.weight"),
    ),
    to_ours=_to_ours,
    to_theirs=_to_theirs,
    heads={"ForCausalLM": CAUSAL_LM},
)
