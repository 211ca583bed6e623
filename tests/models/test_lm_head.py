"""The head of language models, tied to the embedding."""

from __future__ import annotations

from typing import Any

import torch

from formers.testing import assert_same


def test_tied_logits_are_products_with_the_embedding(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    hidden = model.model(ids).last_hidden_state
    assert_same(model(ids).logits, hidden @ model.model.embed_tokens.weight.T, "logits")
