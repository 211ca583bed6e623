"""Small models of text, with states of every kind, and what makes numbers of texts."""

from __future__ import annotations

import torch

from formers.evaluation.coder import AlphabetCoder
from formers.evaluation.text_model import TextModel
from formers.models import CausalLM, TransformerConfig
from formers.tasks.characters import Characters

CHARACTERS = Characters.of("abcdefghijklmnopqrstuvwxyz .\n")
CODER = AlphabetCoder(CHARACTERS)
CHOICES: dict[str, dict[str, str]] = {
    "softmax": {"position": "rotary"},
    "linear": {"mixer": "linear", "position": "none"},
    "window": {"mixer": "window(4) | sinks(1)", "position": "alibi"},
    "lsh": {"mixer": "lsh(buckets=4, chunk=4)", "position": "rotary"},
    "recurrent": {"memory": "recurrent(length=8)", "position": "xl"},
    "compressive": {"memory": "compressive(length=8, compressed=4, rate=2)", "position": "xl"},
    "memorizing": {"memory": "memorizing(window=8, size=64, k=4)", "position": "rotary"},
}


def causal_lm(**choices: str) -> CausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(CHARACTERS), "width": 16, "depth": 2, "heads": 2, "context_length": 16}
    return CausalLM(TransformerConfig(**sizes, initializer_range=0.3, **choices)).eval()


def text_model(name: str, batch: int = 3) -> TextModel:
    return TextModel.of(causal_lm(**CHOICES[name]), CODER, batch=batch)
