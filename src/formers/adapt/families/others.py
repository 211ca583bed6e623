"""Families that are not models of this library, and what they have that ours have not."""

from __future__ import annotations

_SIDE_BY_SIDE = "attention and feed-forward side by side, not one after the other"
_EXPERTS = "feed-forwards of several experts"
_OWN_ATTENTION = "attention code of its own"
_GEMMA = "norms that scale by 1 + weight, and embeddings times √width"
_ENCODER_DECODER = "an encoder and a decoder"

DIFFERENCES: dict[str, str] = {
    "albert": "layers that share their weights, and embeddings narrower than the model",
    "bart": _ENCODER_DECODER,
    "big_bird": f"{_OWN_ATTENTION}; convert a BERT to bigbird() instead",
    "bloom": "queries, keys and values in one projection, interleaved, and a norm on the embedding",
    "cohere": _SIDE_BY_SIDE,
    "deberta": "attention to relative positions by content",
    "deberta-v2": "attention to relative positions by content",
    "deepseek_v3": f"{_EXPERTS}, and keys and values from a latent vector",
    "electra": "embeddings that may be narrower than the model",
    "falcon": _SIDE_BY_SIDE,
    "fnet": "no attention; convert a BERT to fourier() instead",
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gpt_neo": "scores that are not divided by √K, and windows in every other layer",
    "gpt_neox": _SIDE_BY_SIDE,
    "gptj": _SIDE_BY_SIDE,
    "longformer": f"{_OWN_ATTENTION}; convert a RoBERTa to longformer() instead",
    "mamba": "no attention",
    "mixtral": _EXPERTS,
    "mpnet": "biases of relative positions in buckets",
    "olmo2": "norms behind each sub-layer, and on queries over all heads at once",
    "opt": "an embedding that may be narrower than the model",
    "phi": _SIDE_BY_SIDE,
    "qwen2_moe": _EXPERTS,
    "qwen3_moe": _EXPERTS,
    "smollm3": "layers without positions",
    "t5": _ENCODER_DECODER,
    "xlnet": _OWN_ATTENTION,
}
"""`model_type` of Hugging Face → what differs from the families that are known."""


def what_differs(kind: str) -> str:
    """Return the end of an error about a family that is not known."""
    differs = f" It has {DIFFERENCES[kind]}." if kind in DIFFERENCES else ""
    return (
        f"{differs} If it calls Hugging Face's attention functions, formers.adapt.use_attention(model, mixer) changes "
        "its attention all the same"
    )
