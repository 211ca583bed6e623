"""The classifier of tokens."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils.generic import can_return_tuple

from formers.models.config import TransformerConfig
from formers.models.losses import cross_entropy, with_auxiliary
from formers.models.model_with_head import ModelWithHead
from formers.models.packing import DocumentHints


class TokenClassifier(ModelWithHead):
    """A class for every token."""

    trained_as = "ForTokenClassification"

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
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
    ) -> TokenClassifierOutput:
        """Return logits (B, L, labels), and the mean cross-entropy where `labels` (B, L) are not −100.

        `num_items_in_batch` divides the sum instead, as in `losses`.
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
            )
        logits = self.score(out.last_hidden_state)
        loss = None
        if labels is not None:
            task_loss = cross_entropy(logits, labels, num_items_in_batch)
            loss = with_auxiliary(task_loss, auxiliary, labels, num_items_in_batch)
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)
