"""The masked language model."""

from __future__ import annotations

from torch import Tensor
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils.generic import can_return_tuple

from formers.models.config import TransformerConfig
from formers.models.lm_head import HeadTransform, ModelWithLMHead
from formers.models.losses import cross_entropy, with_auxiliary
from formers.models.packing import DocumentHints


class MaskedLM(ModelWithLMHead):
    """Predicts the tokens that were masked out, from both sides.

    With `head_transform` hidden states go through a dense layer and a norm before they are scored, as in BERT.
    """

    direction = False
    transforms = True
    trained_as = "ForMaskedLM"

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.transform = HeadTransform(self.config) if self.config.head_transform else None
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
    ) -> MaskedLMOutput:
        """Return logits (B, L, vocabulary), and the mean cross-entropy where `labels` (B, L) are not −100.

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
        hidden_bld = out.last_hidden_state
        logits = self.lm_head(hidden_bld if self.transform is None else self.transform(hidden_bld))
        loss = None
        if labels is not None:
            task_loss = cross_entropy(logits, labels, num_items_in_batch)
            loss = with_auxiliary(task_loss, auxiliary, labels, num_items_in_batch)
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)
