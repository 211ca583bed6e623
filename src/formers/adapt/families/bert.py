"""BERT, RoBERTa with XLM-R, and DistilBERT: encoders without their heads."""

from __future__ import annotations

from functools import partial
from typing import Any

from formers.adapt.families.family import Family, Weights, activation, refuse
from formers.ffn import Mlp
from formers.mixers import Softmax
from formers.models import TransformerConfig
from formers.norms import LayerNorm
from formers.positions import Learned
from formers.residuals import PostNorm


def _config(theirs: Any, *, unused_positions: int = 0) -> TransformerConfig:
    """Return our configuration; `unused_positions` rows of the table come before that of the first token."""
    refuse(
        theirs,
        {
            "is_decoder": (False, "a causal encoder"),
            "add_cross_attention": (False, "attention to another sequence"),
            "sinusoidal_pos_embds": (False, "sinusoids as positions"),
        },
    )
    return _encoder(
        theirs,
        width=theirs.hidden_size,
        hidden=theirs.intermediate_size,
        activation_name=theirs.hidden_act,
        eps=theirs.layer_norm_eps,
        context_length=theirs.max_position_embeddings - unused_positions,
    )


def _distilbert(theirs: Any) -> TransformerConfig:
    refuse(theirs, {"sinusoidal_pos_embds": (False, "sinusoids as positions")})
    return _encoder(
        theirs,
        width=theirs.dim,
        hidden=theirs.hidden_dim,
        activation_name=theirs.activation,
        eps=1e-12,
        context_length=theirs.max_position_embeddings,
    )


def _encoder(
    theirs: Any, *, width: int, hidden: int, activation_name: str, eps: float, context_length: int
) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=theirs.vocab_size,
        width=width,
        depth=theirs.num_hidden_layers,
        heads=theirs.num_attention_heads,
        mixer=Softmax(bias=True),
        position=Learned(),
        residual=PostNorm(),
        norm=LayerNorm(eps=eps),
        ffn=Mlp(expand=hidden / width, activation=activation(theirs, activation_name)),
        embedding_norm=LayerNorm(eps=eps),
        causal=False,
        context_length=context_length,
        pad_token_id=theirs.pad_token_id,
        initializer_range=theirs.initializer_range,
    )


def _without_types(weights: Weights, theirs: Any, *, first: int = 0) -> Weights:
    """Return the weights with the embedding of token type 0 in the table of positions, which begins at row `first`."""
    table, types = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"
    kept = {name: weight for name, weight in weights.items() if name != types}
    kept[table] = kept[table][first:] + (weights[types][0] if types in weights else 0)
    return kept


_ROBERTAS_FIRST = 2
"""Positions of RoBERTa begin behind that of padding, which is 1."""
_EMBEDDINGS = (
    (r"embeddings\.word_embeddings\.weight", r"embed_tokens.weight"),
    (r"embeddings\.position_embeddings\.weight", r"input_position.table.weight"),
    (r"embeddings\.LayerNorm\.(weight|bias)", r"embedding_norm.\1"),
    (r"pooler\..*", None),
)
_BERT_NAMES = (
    *_EMBEDDINGS,
    (r"encoder\.layer\.(\d+)\.attention\.self\.query\.(weight|bias)", r"layers.\1.mixer.q_proj.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.key\.(weight|bias)", r"layers.\1.mixer.k_proj.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.self\.value\.(weight|bias)", r"layers.\1.mixer.v_proj.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)", r"layers.\1.mixer.o_proj.\2"),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(weight|bias)", r"layers.\1.mixer_norm.\2"),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.(weight|bias)", r"layers.\1.ffn.up_proj.\2"),
    (r"encoder\.layer\.(\d+)\.output\.dense\.(weight|bias)", r"layers.\1.ffn.down_proj.\2"),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.(weight|bias)", r"layers.\1.ffn_norm.\2"),
)
BERT = Family(config=_config, names=_BERT_NAMES, to_ours=_without_types)
ROBERTA = Family(
    config=partial(_config, unused_positions=_ROBERTAS_FIRST),
    names=_BERT_NAMES,
    to_ours=partial(_without_types, first=_ROBERTAS_FIRST),
)
DISTILBERT = Family(
    config=_distilbert,
    names=(
        *_EMBEDDINGS,
        (r"transformer\.layer\.(\d+)\.attention\.([qkv])_lin\.(weight|bias)", r"layers.\1.mixer.\2_proj.\3"),
        (r"transformer\.layer\.(\d+)\.attention\.out_lin\.(weight|bias)", r"layers.\1.mixer.o_proj.\2"),
        (r"transformer\.layer\.(\d+)\.sa_layer_norm\.(weight|bias)", r"layers.\1.mixer_norm.\2"),
        (r"transformer\.layer\.(\d+)\.ffn\.lin1\.(weight|bias)", r"layers.\1.ffn.up_proj.\2"),
        (r"transformer\.layer\.(\d+)\.ffn\.lin2\.(weight|bias)", r"layers.\1.ffn.down_proj.\2"),
        (r"transformer\.layer\.(\d+)\.output_layer_norm\.(weight|bias)", r"layers.\1.ffn_norm.\2"),
    ),
    to_ours=_without_types,
)
