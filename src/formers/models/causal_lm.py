"""The causal language model."""

from __future__ import annotations

from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from formers.models.generation import StateGenerationMixin
from formers.models.lm_head import ModelWithLMHead
from formers.models.losses import cross_entropy


class CausalLM(ModelWithLMHead, StateGenerationMixin, GenerationMixin):  # Hugging Face wants its own as a direct base
    """Predicts the next token, and generates through Hugging Face's `generate()`: see `StateGenerationMixin`."""

    direction = True

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """Return logits of the next token, (B, L, vocabulary), and the mean cross-entropy in nats if there are labels.

        `labels` are the input ids themselves: they are shifted here, and −100 marks what does not count.
        `logits_to_keep` limits the logits to the last ones. The rest as in `Transformer.forward`.
        """
        out = self.model(
            input_ids,
            attention_mask,
            position_ids,
            past_key_values,
            inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, kept])
        loss = None if labels is None else cross_entropy(logits[:, :-1], labels[:, 1:])
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=out.past_key_values, hidden_states=out.hidden_states
        )
