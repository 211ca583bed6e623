"""Phi-3 and Phi-4: Llama with queries, keys and values in one projection, and gate and up in another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from formers.adapt.families.family import Weights, cut, joined, refuse
from formers.adapt.families.llama import LLAMA, config_of
from formers.models import TransformerConfig


def _config(theirs: Any) -> TransformerConfig:
    """Return our configuration. Raise Unsupported for LongRoPE, and for dropout that ours does not have."""
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop"), (0.0, "dropout of one place alone"))
    refuse(theirs, dropout)
    return config_of(theirs)


def _to_ours(weights: Weights, theirs: Any) -> Weights:
    """Return the weights with their two joint projections apart."""
    return cut(cut(weights, *_attention(theirs)), *_feed_forward(theirs))


def _to_theirs(weights: Weights, theirs: Any) -> Weights:
    """Return the weights with these in one again."""
    return joined(joined(weights, *_attention(theirs)), *_feed_forward(theirs))


def _attention(theirs: Any) -> tuple[str, dict[str, int]]:
    """Return the projection of attention, and the rows of its parts."""
    heads, groups = theirs.num_attention_heads, theirs.num_key_value_heads
    width = getattr(theirs, "head_dim", None) or theirs.hidden_size // heads
    return "qkv_proj", {"q_proj": heads * width, "k_proj": groups * width, "v_proj": groups * width}


def _feed_forward(theirs: Any) -> tuple[str, dict[str, int]]:
    """Return the first projection of the feed-forward, and the rows of its parts."""
    return "gate_up_proj", dict.fromkeys(("gate_proj", "up_proj"), theirs.intermediate_size)


PHI3 = replace(LLAMA, config=_config, to_ours=_to_ours, to_theirs=_to_theirs)
