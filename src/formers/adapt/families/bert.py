"""BERT, RoBERTa with XLM-R, and DistilBERT: encoders, and their heads for masked tokens and for classes."""

from __future__ import annotations

from functools import partial
from typing import Any

from formers.adapt.families.family import (
    CLASSIFIER,
    SEQUENCES,
    TOKENS,
    Family,
    Head,
    Names,
    activation,
    as_they_are,
    labels,
    refuse,
)
from formers.ffn import Mlp
from formers.mixers import Softmax
from formers.models import MaskedLM, SequenceClassifier, TransformerConfig
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
        },
    )
    made = _encoder(
        theirs, hidden=theirs.intermediate_size, activation_name=theirs.hidden_act, eps=theirs.layer_norm_eps
    )
    return made.swap(
        position=Learned(offset=unused_positions),
        context_length=theirs.max_position_embeddings - unused_positions,
        token_types=theirs.type_vocab_size,
        dropout=theirs.hidden_dropout_prob,
    )


def _distilbert(theirs: Any) -> TransformerConfig:
    made = _encoder(theirs, hidden=theirs.hidden_dim, activation_name=theirs.activation, eps=1e-12)
    return made.swap(context_length=theirs.max_position_embeddings, dropout=theirs.dropout)


def _encoder(theirs: Any, *, hidden: int, activation_name: str, eps: float) -> TransformerConfig:
    width = theirs.hidden_size
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
        tie_word_embeddings=theirs.tie_word_embeddings,
        pad_token_id=theirs.pad_token_id,
        initializer_range=theirs.initializer_range,
    )


def _masked_lm(theirs: Any, *, activation_option: str | None = None) -> dict[str, Any]:
    """Return the options of a head for masked tokens; RoBERTa's knows no activation but GELU."""
    name = "gelu" if activation_option is None else getattr(theirs, activation_option)
    return {"head_transform": activation(theirs, name), "head_bias": True}


_ROBERTAS_FIRST = 2
"""Positions of RoBERTa begin behind that of padding, which is 1."""
_EMBEDDINGS = (
    (r"embeddings\.word_embeddings\.weight", r"embed_tokens.weight"),
    (r"embeddings\.position_embeddings\.weight", r"input_position.table.weight"),
    (r"embeddings\.LayerNorm\.(weight|bias)", r"embedding_norm.\1"),
    (r"embeddings\.token_type_embeddings\.weight", r"token_types.table.weight"),
    (r"pooler\.dense\.(weight|bias)", r"pooler.dense.\1"),
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
_DISTILBERT_NAMES = (
    *_EMBEDDINGS,
    (r"transformer\.layer\.(\d+)\.attention\.([qkv])_lin\.(weight|bias)", r"layers.\1.mixer.\2_proj.\3"),
    (r"transformer\.layer\.(\d+)\.attention\.out_lin\.(weight|bias)", r"layers.\1.mixer.o_proj.\2"),
    (r"transformer\.layer\.(\d+)\.sa_layer_norm\.(weight|bias)", r"layers.\1.mixer_norm.\2"),
    (r"transformer\.layer\.(\d+)\.ffn\.lin1\.(weight|bias)", r"layers.\1.ffn.up_proj.\2"),
    (r"transformer\.layer\.(\d+)\.ffn\.lin2\.(weight|bias)", r"layers.\1.ffn.down_proj.\2"),
    (r"transformer\.layer\.(\d+)\.output_layer_norm\.(weight|bias)", r"layers.\1.ffn_norm.\2"),
)


def _masked_lm_names(dense: str, norm: str, decoder: str, bias: str | None = None) -> Names:
    """Return the names of a head for masked tokens; `bias` is a second name of the decoder's."""
    return (
        (rf"{dense}\.(weight|bias)", r"transform.dense.\1"),
        (rf"{norm}\.(weight|bias)", r"transform.norm.\1"),
        (rf"{decoder}\.(weight|bias)", r"lm_head.\1"),
        *(((bias, r"lm_head.bias"),) if bias else ()),
    )


_BERT_MASKED_LM = Head(
    MaskedLM,
    _masked_lm_names(
        r"cls\.predictions\.transform\.dense",
        r"cls\.predictions\.transform\.LayerNorm",
        r"cls\.predictions\.decoder",
        r"cls\.predictions\.bias",
    ),
    partial(_masked_lm, activation_option="hidden_act"),
)
_ROBERTA_MASKED_LM = Head(
    MaskedLM,
    _masked_lm_names(r"lm_head\.dense", r"lm_head\.layer_norm", r"lm_head\.decoder", r"lm_head\.bias"),
    _masked_lm,
)
_DISTILBERT_MASKED_LM = Head(
    MaskedLM,
    _masked_lm_names("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    partial(_masked_lm, activation_option="activation"),
)
_ROBERTA_SEQUENCES = Head(
    SequenceClassifier,
    (
        (r"classifier\.dense\.(weight|bias)", r"model.pooler.dense.\1"),
        (r"classifier\.out_proj\.(weight|bias)", r"score.\1"),
    ),
    labels,
)
_DISTILBERT_SEQUENCES = Head(
    SequenceClassifier,
    ((r"pre_classifier\.(weight|bias)", r"model.pooler.dense.\1"), CLASSIFIER),
    labels,
    pooler="relu",
)
BERT = Family(
    config=_config,
    names=_BERT_NAMES,
    to_ours=as_they_are,
    to_theirs=as_they_are,
    heads={
        "ForMaskedLM": _BERT_MASKED_LM,
        "ForSequenceClassification": SEQUENCES,
        "ForTokenClassification": TOKENS,
    },
)
ROBERTA = Family(
    config=partial(_config, unused_positions=_ROBERTAS_FIRST),
    names=_BERT_NAMES,
    to_ours=as_they_are,
    to_theirs=as_they_are,
    heads={
        "ForMaskedLM": _ROBERTA_MASKED_LM,
        "ForSequenceClassification": _ROBERTA_SEQUENCES,
        "ForTokenClassification": TOKENS,
    },
)
DISTILBERT = Family(
    config=_distilbert,
    names=_DISTILBERT_NAMES,
    to_ours=as_they_are,
    to_theirs=as_they_are,
    heads={
        "ForMaskedLM": _DISTILBERT_MASKED_LM,
        "ForSequenceClassification": _DISTILBERT_SEQUENCES,
        "ForTokenClassification": TOKENS,
    },
)
