"""The check that a tokenizer belongs to a model."""

from __future__ import annotations

from typing import Any

from formers.models.config import TransformerConfig
from formers.part import warn_caller

_PADDED = 0.9
"""The least share of a vocabulary that its tokenizer knows: the rest fills the table up to a round number."""


def check_tokenizer(tokenizer: Any, config: TransformerConfig) -> None:
    """Raise ValueError if a tokenizer has tokens that the model does not know; warn if the model knows many more.

    A tokenizer of another model with a vocabulary of the same size is not found out.
    """
    count, known = len(tokenizer), config.vocab_size
    if count > known:
        raise ValueError(
            f"the tokenizer has {count:,} tokens, but the model's vocabulary {known:,}: it is another model's; take "
            "the one that belongs to the model, or make room for added tokens: model.resize_token_embeddings"
            f"({count})"
        )
    if count < _PADDED * known:
        warn_caller(f"the tokenizer has {count:,} tokens, and the model's vocabulary {known:,}: is it another model's?")
