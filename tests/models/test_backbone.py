"""The backbone's inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch


def test_ids_or_embeddings(causal_lm: Any, ids: torch.Tensor) -> None:
    model = causal_lm()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model(ids, inputs_embeds=model.get_input_embeddings()(ids))
