"""Small models that the tests of the models share; what stands beside them here can be imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from formers import CausalLM, TransformerConfig

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def config() -> Callable[..., TransformerConfig]:
    """A small configuration with some choices changed."""

    def make(**changes: Any) -> TransformerConfig:
        sizes = {"vocab_size": 29, "width": 24, "depth": 2, "heads": 3, "context_length": 64, "initializer_range": 0.3}
        return TransformerConfig(**(sizes | changes))

    return make


@pytest.fixture
def causal_lm(config: Callable[..., TransformerConfig]) -> Callable[..., CausalLM]:
    """A small language model in float64, in eval mode, the same one every time."""

    def make(**changes: Any) -> CausalLM:
        torch.manual_seed(0)
        return CausalLM(config(**changes)).double().eval()

    return make


@pytest.fixture
def ids() -> torch.Tensor:
    """Tokens, (3, 13)."""
    return torch.randint(0, 29, (3, 13), generator=torch.Generator().manual_seed(0))
