"""Pretrained models of Hugging Face with attention of this library: by its interface, without other weights."""

from formers.adapt.attention_cache import AttentionCache
from formers.adapt.attention_function import register
from formers.adapt.use_attention import use_attention

__all__ = ["AttentionCache", "register", "use_attention"]
