"""Pretrained models of Hugging Face: with our attention in their code, or as models of this library."""

from formers.adapt.attention_cache import AttentionCache
from formers.adapt.attention_function import register
from formers.adapt.convert import convert
from formers.adapt.from_hf import from_hf
from formers.adapt.to_hf import to_hf
from formers.adapt.use_attention import use_attention

__all__ = ["AttentionCache", "convert", "from_hf", "register", "to_hf", "use_attention"]
