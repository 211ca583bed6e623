"""GPT-2."""

from __future__ import annotations

from typing import Any

from formers.adapt.families.family import CAUSAL_LM, Family, Weights, activation, cut, joined, refuse
from formers.ffn import Mlp
from formers.mixers import Softmax
from formers.models import TransformerConfig
from formers.norms import LayerNorm
from formers.positions import Learned
from formers.residuals import PreNorm

_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
"""Weights of layers that GPT-2 stores as (in, out)."""


def _config(theirs: Any) -> TransformerConfig:
    refuse(
        theirs,
        {
            "scale_attn_weights": (True, "scores are not divided by √K"),
            "scale_attn_by_inverse_layer_idx": (False, "scores are divided by the layer's number"),
            "add_cross_attention": (False, "attention to another sequence"),
        },
    )
    width = theirs.n_embd
    return TransformerConfig(
        vocab_size=theirs.vocab_size,
        width=width,
        depth=theirs.n_layer,
        heads=theirs.n_head,
        mixer=Softmax(bias=True),
        position=Learned(),
        residual=PreNorm(),
        norm=LayerNorm(eps=theirs.layer_norm_epsilon),
        ffn=Mlp(
            expand=(theirs.n_inner or 4 * width) / width, activation=activation(theirs, theirs.activation_function)
        ),
        causal=True,
        context_length=theirs.n_positions,
        dropout=theirs.resid_pdrop,
        tie_word_embeddings=theirs.tie_word_embeddings,
        initializer_range=theirs.initializer_range,
    )


def _to_ours(weights: Weights, theirs: Any) -> Weights:
    """Return the weights as (out, in), and queries, keys and values apart."""
    return cut(_transposed(weights), "c_attn", _parts(theirs))


def _to_theirs(weights: Weights, theirs: Any) -> Weights:
    """Return the weights as (in, out), and queries, keys and values in one."""
    return _transposed(joined(weights, "c_attn", _parts(theirs)))


def _parts(theirs: Any) -> dict[str, int]:
    """Return the rows of queries, keys and values in their projection."""
    return dict.fromkeys(("q_proj", "k_proj", "v_proj"), theirs.n_embd)


def _transposed(weights: Weights) -> Weights:
    """Return the weights with those of `Conv1D`, which lie as (in, out), turned; and turned back."""
    return {name: weight.T.contiguous() if name.endswith(_TRANSPOSED) else weight for name, weight in weights.items()}


GPT2 = Family(
    config=_config,
    names=(
        (r"wte\.weight", r"embed_tokens.weight"),
        (r"wpe\.weight", r"input_position.table.weight"),
        (r"h\.(\d+)\.attn\.([qkv]_proj)\.(weight|bias)", r"layers.\1.mixer.\2.\3"),
        (r"h\.(\d+)\.attn\.c_proj\.(weight|bias)", r"layers.\1.mixer.o_proj.\2"),
        (r"h\.(\d+)\.mlp\.c_fc\.(weight|bias)", r"layers.\1.ffn.up_proj.\2"),
        (r"h\.(\d+)\.mlp\.c_proj\.(weight|bias)", r"layers.\1.ffn.down_proj.\2"),
        (r"h\.(\d+)\.ln_1\.(weight|bias)", r"layers.\1.mixer_norm.\2"),
        (r"h\.(\d+)\.ln_2\.(weight|bias)", r"layers.\1.ffn_norm.\2"),
        (r"ln_f\.(weight|bias)", r"norm.\1"),
    ),
    to_ours=_to_ours,
    to_theirs=_to_theirs,
    heads={"LMHeadModel": CAUSAL_LM},
)
