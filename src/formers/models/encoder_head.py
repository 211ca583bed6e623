"""What heads on whole sequences share: encode, score, compare with labels."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from torch import Tensor
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import can_return_tuple

from formers.models.losses import cross_entropy, with_auxiliary
from formers.models.model_with_head import ModelWithHead
from formers.models.packing import DocumentHints

HeadOutput: TypeAlias = MaskedLMOutput | SequenceClassifierOutput | TokenClassifierOutput


class EncoderHead(ModelWithHead):
    """Scores of whole sequences, and a loss where there are labels. A head says how hidden states become scores."""

    output: ClassVar[type[HeadOutput]]
    "The class of what `forward` returns."
    one_document_a_row: ClassVar[bool] = False
    "Whether there is one answer a row, so that rows of several documents are refused."

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
    ) -> HeadOutput:
        """Return logits, as `scores` gives them, and the loss if there are labels, as `loss_of` takes it.

        Raise Unsupported for rows that hold several documents where there is one answer a row.
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
                one_document_a_row=self.one_document_a_row,
            )
        logits = self.scores(out, attention_mask)
        loss = None
        if labels is not None:
            task_loss = self.loss_of(logits, labels, num_items_in_batch)
            loss = with_auxiliary(task_loss, auxiliary, labels, num_items_in_batch)
        return self.output(loss=loss, logits=logits, hidden_states=out.hidden_states)

    def scores(self, encoded: BaseModelOutputWithPast, attention_mask: Tensor | None) -> Tensor:
        """Return the scores of what the backbone gives, (B, L, classes) or (B, classes). Every head overrides this."""
        raise NotImplementedError

    def loss_of(self, logits: Tensor, labels: Tensor, count: Tensor | int | None) -> Tensor:
        """Return the mean cross-entropy where labels (B, L) are not −100; `count` divides the sum instead, if given.

        Heads with other losses override this.
        """
        return cross_entropy(logits, labels, count)
