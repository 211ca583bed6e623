"""The backbone with a head: language models and classifiers."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin
from transformers.generation import GenerationMode
from transformers.modeling_outputs import (
    CausalLMOutputWithPast,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import can_return_tuple

from formers.models.backbone import FormersModel, Transformer
from formers.models.config import TransformerConfig
from formers.models.stream import Stream


class _Headed(FormersModel):
    """A backbone under `model` and a head on its hidden states."""

    direction: ClassVar[bool | None] = None
    "True = causal only, False = bidirectional only, None = as the configuration says (bidirectional unless it does)."

    def __init__(self, config: TransformerConfig):
        config = copy.deepcopy(config)
        if self.direction is not None and config.causal is (not self.direction):
            raise ValueError(
                f"{type(self).__name__} needs causal={self.direction}, but the configuration says {config.causal}"
            )
        config.causal = bool(config.causal) if self.direction is None else self.direction
        super().__init__(config)
        self.model = Transformer(config)
        self.streaming = self.model.streaming

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.model.embed_tokens = value


class _LMHead(_Headed):
    """A head that scores every word of the vocabulary: hidden states times the (tied) embedding."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        width = self.model.embed_tokens.embedding_dim
        if self.config.tie_word_embeddings and width != config.width:
            raise ValueError(
                f"the embedding is {width} wide and the model {config.width}, because {config.position} is concatenated; "
                "set tie_word_embeddings=False"
            )
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value


class CausalLM(_LMHead, GenerationMixin):
    """Predicts the next token. Generates through Hugging Face's `generate()` on every streaming mixer's own state."""

    direction = True

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Stream | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutputWithPast:
        """Logits of the next token, (B, L, vocabulary), and the mean cross-entropy in nats when there are labels.

        `labels` are the input ids themselves: they are shifted here, and −100 marks what does not count. `logits_to_keep`
        limits the logits to the last ones. The rest as in `Transformer.forward`.
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
        loss = None if labels is None else _cross_entropy(logits[:, :-1], labels[:, 1:])
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=out.past_key_values, hidden_states=out.hidden_states
        )

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # not a tensor per layer, but whatever state each mixer has

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: dict[str, Any], generation_mode: Any, *sizes: int
    ) -> None:
        """Starts generation on an empty `Stream`. Raises `Unsupported` at once where a search could not take tokens back."""
        super()._prepare_cache_for_generation(generation_config, model_kwargs, generation_mode, *sizes)
        if model_kwargs.get("past_key_values") is None and generation_config.use_cache and self.model.streaming:
            model_kwargs["past_key_values"] = Stream([])
        if generation_mode == GenerationMode.ASSISTED_GENERATION:
            for layer in range(self.config.depth):
                self.config.mixer_at(layer).require(
                    "trim", why="assisted generation takes tokens back", instead="softmax()"
                )


class MaskedLM(_LMHead):
    """Predicts the tokens that were masked out, from both sides."""

    direction = False

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
    ) -> MaskedLMOutput:
        """Logits (B, L, vocabulary), and the mean cross-entropy where `labels` (B, L) are not −100."""
        out = self.model(
            input_ids,
            attention_mask,
            position_ids,
            None,
            inputs_embeds,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.lm_head(out.last_hidden_state)
        loss = None if labels is None else _cross_entropy(logits, labels)
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)


class TokenClassifier(_Headed):
    """A class for every token."""

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
    ) -> TokenClassifierOutput:
        """Logits (B, L, labels), and the mean cross-entropy where `labels` (B, L) are not −100."""
        out = self.model(
            input_ids,
            attention_mask,
            position_ids,
            None,
            inputs_embeds,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.score(out.last_hidden_state)
        loss = None if labels is None else _cross_entropy(logits, labels)
        return TokenClassifierOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)


class SequenceClassifier(_Headed):
    """A class, or with one label a number, for the whole sequence: from the mean over its real tokens (the last, if causal)."""

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
    ) -> SequenceClassifierOutput:
        """Logits (B, labels); the loss is the mean cross-entropy, or the mean squared error with one label."""
        out = self.model(
            input_ids,
            attention_mask,
            position_ids,
            None,
            inputs_embeds,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.score(self.pool(out.last_hidden_state, attention_mask))
        loss = None
        if labels is not None:
            one = self.config.num_labels == 1
            loss = F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype)) if one else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)

    def pool(self, hidden_bld: Tensor, attention_mask: Tensor | None) -> Tensor:
        """One vector a sequence, (B, D); padding does not count."""
        if attention_mask is None:
            return hidden_bld[:, -1] if self.config.causal else hidden_bld.mean(1)
        mask_bl = attention_mask.bool()
        if self.config.causal:
            last_b = (mask_bl * torch.arange(1, mask_bl.shape[1] + 1, device=mask_bl.device)).argmax(-1)
            return hidden_bld[torch.arange(len(last_b), device=last_b.device), last_b]
        kept_bld = hidden_bld.masked_fill(~mask_bl.unsqueeze(-1), 0)
        return kept_bld.sum(1) / mask_bl.sum(1, keepdim=True).clamp(min=1).to(hidden_bld.dtype)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the labels that are not −100, computed in float32 or wider."""
    wide: Any = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return F.cross_entropy(wide.flatten(0, -2), labels.flatten(), ignore_index=-100)
