"""The classifier of sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from formers.models.config import TransformerConfig
from formers.models.losses import sequence_loss, with_auxiliary
from formers.models.model_with_head import ModelWithHead
from formers.models.packing import DocumentHints


class SequenceClassifier(ModelWithHead):
    """A class for the whole sequence, several at once, or numbers: `config.problem_type` as in Hugging Face.

    It is read from the mean over the real tokens, or if the model is causal, from the last of them; with a pooler, from
    the first of them, with dropout.
    """

    pools = True
    trained_as = "ForSequenceClassification"

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Linear(config.width, config.num_labels)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        token_type_ids: Tensor | None = None,
        seq_idx: Tensor | None = None,
        cu_seq_lens_q: Tensor | None = None,
        cu_seq_lens_k: Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
        global_attention_mask: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits (B, num_labels), and the loss if there are labels, as `sequence_loss` takes it.

        Raise Unsupported for rows that hold several documents: there is one answer a row.
        """
        with self.collecting_losses(labels, num_items_in_batch) as auxiliary:
            out = self.encode(
                input_ids,
                attention_mask,
                position_ids,
                inputs_embeds,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
                token_type_ids=token_type_ids,
                hints=DocumentHints(seq_idx, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k),
                global_attention_mask=global_attention_mask,
                one_document_a_row=True,
            )
        if out.pooler_output is None:
            pooled_bd = self.pool(out.last_hidden_state, attention_mask)
        else:
            pooled_bd = self.dropout(out.pooler_output)
        logits = self.score(pooled_bd)
        loss = None
        if labels is not None:
            task_loss = sequence_loss(logits, labels, self.config.problem_type, num_items_in_batch)
            loss = with_auxiliary(task_loss, auxiliary, labels, num_items_in_batch)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)

    def pool(self, hidden_bld: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return one vector a sequence, (B, D): the mean over its real tokens, or the last of them if causal."""
        if attention_mask is None:
            return hidden_bld[:, -1] if self.config.causal else hidden_bld.mean(1)
        mask_bl = attention_mask.bool()
        if self.config.causal:
            last_b = (mask_bl * torch.arange(1, mask_bl.shape[1] + 1, device=mask_bl.device)).argmax(-1)
            return hidden_bld[torch.arange(len(last_b), device=last_b.device), last_b]
        kept_bld = hidden_bld.masked_fill(~mask_bl.unsqueeze(-1), 0)
        return kept_bld.sum(1) / mask_bl.sum(1, keepdim=True).clamp(min=1).to(hidden_bld.dtype)
