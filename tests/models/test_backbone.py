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


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [
        ("input_ids", torch.arange(5), ValueError, r"has shape \(5,\); expected \(batch, length\).*input_ids\[None\]"),
        ("input_ids", torch.ones(1, 2, 5).long(), ValueError, r"has shape \(1, 2, 5\); expected \(batch, length\)$"),
        ("input_ids", torch.rand(1, 5), TypeError, r"of torch\.int64, but a tensor of torch\.float32 was given"),
        ("input_ids", [[1, 2]], TypeError, "but a list was given"),
        ("inputs_embeds", torch.rand(1, 5, 7), ValueError, r"has shape \(1, 5, 7\); expected .* with width 24"),
        ("inputs_embeds", torch.rand(5, 24), ValueError, r"has shape \(5, 24\); expected \(batch, length, width\)"),
    ],
)
def test_what_is_no_batch_of_tokens_is_named(
    causal_lm: Any, name: str, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"{name} .*{message}"):
        causal_lm()(**{name: given})
