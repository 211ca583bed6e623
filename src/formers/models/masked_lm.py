"""The masked language model."""

from __future__ import annotations

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPast, MaskedLMOutput

from formers.models.config import TransformerConfig
from formers.models.encoder_head import EncoderHead
from formers.models.lm_head import HeadTransform, ModelWithLMHead


class MaskedLM(EncoderHead, ModelWithLMHead):
    """Predicts the tokens that were masked out, from both sides.

        model = MaskedLM(TransformerConfig(vocab_size=65, width=64, depth=2, heads=4, mixer="linear"))
        ids = torch.randint(65, (2, 32))          # (B, L)
        labels = ids.where(torch.rand(2, 32) < 0.15, -100)  # −100: no token to be found here
        model(ids, labels=labels).logits          # (B, L, vocabulary); the loss is in nats a hidden token

    With `head_transform` hidden states go through a dense layer and a norm before they are scored, as in BERT.
    """

    direction = False
    transforms = True
    trained_as = "ForMaskedLM"
    output = MaskedLMOutput

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.transform = HeadTransform(self.config) if self.config.head_transform else None
        self.post_init()

    def scores(self, encoded: BaseModelOutputWithPast, attention_mask: Tensor | None) -> Tensor:
        """Return the scores of all tokens of the vocabulary at each place, (B, L, vocabulary)."""
        hidden_bld = encoded.last_hidden_state
        logits: Tensor = self.lm_head(hidden_bld if self.transform is None else self.transform(hidden_bld))
        return logits
