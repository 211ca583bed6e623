"""The causal language model."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils.generic import can_return_tuple

from formers.models.config import TransformerConfig
from formers.models.exit_heads import build_exits
from formers.models.generation import StateGenerationMixin
from formers.models.lm_head import ModelWithLMHead
from formers.models.losses import next_token_loss, with_auxiliary
from formers.models.model_with_head import LABELS_WITHHELD
from formers.models.outputs import BackboneOutput, CausalLMOutput
from formers.part import CollectedLosses, Unsupported


class CausalLM(ModelWithLMHead, StateGenerationMixin, GenerationMixin):  # Hugging Face wants its own as a direct base
    """Predicts the next token, and generates through Hugging Face's `generate()`: see `StateGenerationMixin`.

        config = TransformerConfig(vocab_size=65, width=64, depth=2, heads=4, mixer="linear", position="rotary")
        model = CausalLM(config)
        ids = torch.randint(65, (2, 32))          # (B, L)
        found = model(ids, labels=ids)            # the labels are shifted by the model
        found.logits, found.loss                  # (B, L, vocabulary), and the mean cross-entropy in nats
        model.eval().generate(ids, max_new_tokens=8)

    Raises `Unsupported` when it is built of parts that cannot be causal.
    """

    direction = True
    trained_as = "ForCausalLM"
    has_exits = True  # a subclass with a `score` of its own has to say False, or to score exits, too

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.exits = build_exits(self.config)
        self.post_init()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _register_as_causal(cls)

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
        num_items_in_batch: Tensor | int | None = None,
        token_type_ids: Tensor | None = None,
        seq_idx: Tensor | None = None,
        cu_seq_lens_q: Tensor | None = None,
        cu_seq_lens_k: Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
        global_attention_mask: Tensor | None = None,
    ) -> CausalLMOutput:
        """Return logits of the next token, (B, L, vocabulary), and the mean cross-entropy in nats if there are labels.

        `labels` are the input ids themselves: they are shifted here, and −100 marks what does not count.
        `logits_to_keep` limits the logits to the last ones, and labels are then those of the kept tokens.
        `num_items_in_batch` divides the sum instead of the number of labels. Where a row holds several documents, the
        first label of each must be −100, as `DataCollatorWithFlattening` has it, or the last token before it is asked
        for it. In training, losses that parts add come on top of the cross-entropy, and with early exits this is the
        weighted mean over them, or that of exits drawn. The rest as in `Transformer.forward`.
        """
        aligned = self._trains_exits(labels, num_items_in_batch)
        with self.collecting_losses(labels, num_items_in_batch) as auxiliary:
            out = self.model(
                input_ids,
                attention_mask,
                position_ids,
                past_key_values,
                inputs_embeds,
                use_cache=use_cache,
                output_hidden_states=True if aligned else output_hidden_states,
                output_attentions=output_attentions,
                return_dict=True,
                token_type_ids=token_type_ids,
                seq_idx=seq_idx,
                cu_seq_lens_q=cu_seq_lens_q,
                cu_seq_lens_k=cu_seq_lens_k,
                max_length_q=max_length_q,
                max_length_k=max_length_k,
                global_attention_mask=global_attention_mask,
                exit_scores=None if self.exits is None else self._exit_scores,
            )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.score(out.last_hidden_state, kept) if self.exits is None else self._exit_logits(out, kept)
        loss = None
        if labels is not None:
            if aligned:
                task_loss = self._aligned_loss(out, kept, labels, num_items_in_batch, auxiliary)
            else:
                task_loss = next_token_loss(logits, labels, num_items_in_batch)
            loss = with_auxiliary(task_loss, auxiliary, labels[:, 1:], num_items_in_batch)
        wants_hidden = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return CausalLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states if wants_hidden else None,
            steps=out.steps,
        )

    def score(self, hidden_bld: Tensor, kept: slice | Tensor) -> Tensor:
        """Return the logits of the kept tokens, (B, kept, vocabulary), from the hidden states of all, (B, L, D)."""
        return self.lm_head(hidden_bld[:, kept])

    def _trains_exits(self, labels: Tensor | None, count: Tensor | int | None) -> bool:
        """Return whether the loss is that of all exits of every token. Raise Unsupported where labels are withheld."""
        if self.exits is None or self.exits.part.training != "aligned":
            return False
        if self.labels_are_withheld(labels, count):
            raise Unsupported(f"the losses of all exits but the last would be lost: {LABELS_WITHHELD}")
        return labels is not None and self.training

    def _exit_logits(self, out: BackboneOutput, kept: slice | Tensor) -> Tensor:
        """Return the logits of the exit that each kept token has left at."""
        assert self.exits is not None
        steps_bl = None if out.steps is None else out.steps[:, kept]
        return self.exits.scores(out.last_hidden_state[:, kept], steps_bl, self.lm_head)

    def _exit_scores(self, number: int, hidden: Tensor) -> Tensor:
        """Return the scores at an exit, as `Transformer.forward` takes them."""
        assert self.exits is not None
        return self.exits.at(number, hidden, self.lm_head)

    def _aligned_loss(
        self,
        out: BackboneOutput,
        kept: slice | Tensor,
        labels: Tensor,
        count: Tensor | int | None,
        auxiliary: CollectedLosses | None,
    ) -> Tensor:
        """Return the loss of all exits, given the hidden states that entered the layers, and the last ones."""
        assert self.exits is not None
        assert out.hidden_states is not None
        hidden, rule = out.hidden_states[1:], self.model.computation.rule
        loss, learnt = self.exits.aligned_loss(
            [h[:, kept] for h in hidden],
            labels,
            count,
            norm=self.model.norm,
            lm_head=self.lm_head,
            rule=rule,
            first=rule.reads(hidden[0], out.mask)[:, kept],
        )
        if learnt is not None and auxiliary is not None:
            auxiliary.add(self.exits.part.rule.name(), learnt)
        return loss


def _register_as_causal(model: type[CausalLM]) -> None:
    """Add a class to the causal models that transformers knows by the name of their class.

    Its trainer looks there whether label smoothing has to shift the labels.
    """
    names = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    model_type = model.config_class.model_type
    names[f"{model.__module__}.{model.__qualname__}" if model_type in names else model_type] = model.__name__


_register_as_causal(CausalLM)
