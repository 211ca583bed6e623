"""The base of models with a head: a backbone under `model`, and something on top of its hidden states."""

from __future__ import annotations

import copy
import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from formers.computation import EarlyExit
from formers.models.backbone import Transformer
from formers.models.config import TransformerConfig
from formers.models.packing import NO_HINTS, DocumentHints
from formers.models.pretrained import FormersModel
from formers.part import CollectedLosses, Unsupported, collect_losses, refuse_losses

LABELS_WITHHELD = (
    "num_items_in_batch was given without labels, as by a trainer that takes the loss from the logits alone. Leave out "
    "label_smoothing_factor and compute_loss_func, or override Trainer.compute_loss: call the model with its labels "
    "and change the loss that it returns"
)
"""Why a model in training refuses to drop losses of its own."""


class ModelWithHead(FormersModel):
    """A backbone under `model`. A head subclasses this, adds its layer, and calls `post_init` last.

    Raise ValueError where the head needs another direction than the configuration says.
    """

    backbone: ClassVar[type[Any]] = Transformer
    "The class of the model under the head."
    direction: ClassVar[bool | None] = None
    "True = causal only, False = bidirectional only, None = as the configuration says (bidirectional unless it does)."

    has_exits: ClassVar[bool] = False
    "Whether the head is one of early exits, too."

    pools: ClassVar[bool] = False
    "Whether the head reads the backbone's pooler, where the configuration has one; others are built without it."
    transforms: ClassVar[bool] = False
    "Whether the head may have a transform of its own."

    trained_as: ClassVar[str | None] = None
    "The head's loss by its name in transformers' `LOSS_MAPPING`: the trainer asks whether it shifts labels."
    accepts_loss_kwargs: bool
    "Whether `forward` takes `num_items_in_batch`: the trainer asks before it hands it over."

    def __init__(self, config: TransformerConfig):
        config = copy.deepcopy(config)
        if self.direction is not None and config.causal is (not self.direction):
            raise ValueError(
                f"{type(self).__name__} needs causal={self.direction}, but the configuration says {config.causal}"
            )
        config.causal = bool(config.causal) if self.direction is None else self.direction
        if isinstance(config.computation, EarlyExit) and not self.has_exits:
            raise Unsupported(
                f"{type(self).__name__} has no heads at early exits, which {config.computation} needs; use a CausalLM, "
                "or computation=fixed()"
            )
        if config.head_transform and not self.transforms:
            raise Unsupported(f"{type(self).__name__} has no head_transform, as a MaskedLM has; leave it out")
        super().__init__(config)
        self.loss_type = self.trained_as
        self.accepts_loss_kwargs = "num_items_in_batch" in inspect.signature(self.forward).parameters
        self.model = self.backbone(config.swap(pooler=None) if config.pooler and not self.pools else config)
        self.streaming = self.model.streaming

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of tokens."""
        embedding: nn.Module = self.model.get_input_embeddings()
        return embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the embedding of tokens."""
        self.model.set_input_embeddings(value)

    def collecting_losses(
        self, labels: Tensor | None, count: Tensor | int | None = None
    ) -> AbstractContextManager[CollectedLosses | None]:
        """Collect the losses that parts add, if there are labels and the model trains; None otherwise.

        Open it around the run of the backbone, and hand what it gives to `losses.with_auxiliary`. A part that adds one
        raises Unsupported where the labels are counted but withheld: see `LABELS_WITHHELD`.
        """
        if not self.training or labels is None:
            return refuse_losses(LABELS_WITHHELD) if self.labels_are_withheld(labels, count) else nullcontext()
        return collect_losses()

    def labels_are_withheld(self, labels: Tensor | None, count: Tensor | int | None) -> bool:
        """Return whether a trainer has counted the labels (`num_items_in_batch`), but kept them for a loss of its own.

        Hugging Face's does so with `label_smoothing_factor` and `compute_loss_func`.
        """
        return self.training and labels is None and count is not None

    def encode(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        *,
        output_hidden_states: bool | None,
        output_attentions: bool | None,
        token_type_ids: Tensor | None = None,
        hints: DocumentHints = NO_HINTS,
        one_document_a_row: bool = False,
        global_attention_mask: Tensor | None = None,
    ) -> BaseModelOutputWithPast:
        """Return the backbone's hidden states of whole sequences. Arguments as in `Transformer.forward`."""
        return self.model(
            input_ids,
            attention_mask,
            position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
            token_type_ids=token_type_ids,
            one_document_a_row=one_document_a_row,
            global_attention_mask=global_attention_mask,
            **hints._asdict(),
        )
