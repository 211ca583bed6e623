"""The classifier of tokens."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast, TokenClassifierOutput

from formers.models.config import TransformerConfig
from formers.models.encoder_head import EncoderHead


class TokenClassifier(EncoderHead):
    """A class for every token."""

    trained_as = "ForTokenClassification"
    output = TokenClassifierOutput

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.score = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def scores(self, encoded: BaseModelOutputWithPast, attention_mask: Tensor | None) -> Tensor:
        """Return the scores of all labels at each place, (B, L, labels)."""
        logits: Tensor = self.score(encoded.last_hidden_state)
        return logits
