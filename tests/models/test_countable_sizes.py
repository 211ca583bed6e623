"""Sizes that are sound by themselves and whose product is not."""

from __future__ import annotations

import pytest
import torch

from formers.models import CausalLM, TransformerConfig


@pytest.mark.parametrize(
    "choice",
    [
        {"ffn": "glu(expand=1e300)"},
        {"ffn": "mlp(expand=1e17)"},
        {"mixer": "rfa(features=4611686018427387904)"},
        {"mixer": "linear(feature=favor(features=4611686018427387904))"},
    ],
    ids=lambda choice: next(iter(choice.values())),
)
def test_products_of_sizes_beyond_counting_are_refused_in_words(choice: dict[str, str]) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="no machine has room"):
        CausalLM(TransformerConfig(width=32, heads=4, **choice))
