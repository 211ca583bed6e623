"""The configuration of a model of images, pixel by pixel."""

from __future__ import annotations

from typing import Any

from formers.models.config import TransformerConfig
from formers.positions import Grid


class PixelConfig(TransformerConfig):
    """Sizes and parts of a `PixelLM`: those of every model, and the distribution of the next pixel.

    `vocab_size` is the number of grey values. By default images have 28 × 28 pixels of 256 values.

    Attributes:
        distribution: `logistics`, a mixture of logistic distributions, which knows that values are ordered; or
            `categorical`, a score for each value by itself.
        mixtures: components of the mixture, M.
    """

    effective = frozenset()
    model_type = "formers_pixels"

    position: Any = Grid(how="concatenate")
    context_length: int = 784
    tie_word_embeddings: bool = False
    bos_token_id: int | None = 0
    distribution: str = "logistics"
    mixtures: int = 10
