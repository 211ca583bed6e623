"""The classifier of sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast, SequenceClassifierOutput

from formers.models.config import TransformerConfig
from formers.models.encoder_head import EncoderHead
from formers.models.losses import sequence_loss
from formers.ops import accumulation_dtype


class SequenceClassifier(EncoderHead):
    """A class for the whole sequence, several at once, or numbers: `config.problem_type` as in Hugging Face.

        model = SequenceClassifier(TransformerConfig(vocab_size=65, width=64, depth=2, heads=4, num_labels=3))
        ids, mask = torch.randint(65, (2, 32)), torch.ones(2, 32)
        model(ids, attention_mask=mask, labels=torch.tensor([0, 2])).logits  # (B, labels)

    It is read from the mean over the real tokens, or if the model is causal, from the last of them; with a pooler, from
    the first of them, with dropout.
    """

    pools = True
    trained_as = "ForSequenceClassification"
    output = SequenceClassifierOutput
    one_document_a_row = True

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def scores(self, encoded: BaseModelOutputWithPast, attention_mask: Tensor | None) -> Tensor:
        """Return the scores of all labels, (B, num_labels)."""
        if encoded.pooler_output is None:
            pooled_bd = self.pool(encoded.last_hidden_state, attention_mask)
        else:
            pooled_bd = self.dropout(encoded.pooler_output)
        logits: Tensor = self.score(pooled_bd)
        return logits

    def loss_of(self, logits: Tensor, labels: Tensor, count: Tensor | int | None) -> Tensor:
        """Return the loss of `config.problem_type`, as `sequence_loss` takes it."""
        return sequence_loss(logits, labels, self.config.problem_type, count)

    def pool(self, hidden_bld: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return one vector a sequence, (B, D): the mean over its real tokens, or the last of them if causal."""
        if attention_mask is None:
            return hidden_bld[:, -1] if self.config.causal else hidden_bld.mean(1)
        mask_bl = attention_mask.bool()
        if self.config.causal:
            last_b = (mask_bl * torch.arange(1, mask_bl.shape[1] + 1, device=mask_bl.device)).argmax(-1)
            return hidden_bld[torch.arange(len(last_b), device=last_b.device), last_b]
        kept_bld = hidden_bld.masked_fill(~mask_bl.unsqueeze(-1), 0)
        total_bd = kept_bld.sum(1, dtype=accumulation_dtype(kept_bld.dtype))  # float16 ends at 65,504
        return (total_bd / mask_bl.sum(1, keepdim=True).clamp(min=1)).to(hidden_bld.dtype)
