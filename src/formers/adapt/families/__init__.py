"""Families of pretrained models that this library's backbone can be: their sizes and parts, and the names of their
weights, one file a family."""

from __future__ import annotations

from formers.adapt.families.bert import BERT, DISTILBERT, ROBERTA
from formers.adapt.families.family import Family
from formers.adapt.families.gpt2 import GPT2
from formers.adapt.families.llama import LLAMA
from formers.adapt.families.phi3 import PHI3

FAMILIES: dict[str, Family] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "ministral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "phi3": PHI3,
    "gpt2": GPT2,
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "distilbert": DISTILBERT,
}
"""`model_type` of Hugging Face → the family."""

__all__ = ["FAMILIES", "Family"]
