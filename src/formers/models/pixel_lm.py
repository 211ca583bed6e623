"""The model of images, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.modeling_outputs import ModelOutput
from transformers.utils.generic import can_return_tuple

from formers.models.generation import StateGenerationMixin
from formers.models.logistic_mixture import LogisticMixture
from formers.models.losses import IGNORED, with_auxiliary
from formers.models.model_with_head import ModelWithHead
from formers.models.pixel_config import PixelConfig
from formers.part import Unsupported

_LOG_SCALE = -2.0
"""The first log-scale of all components: each about as wide as the distance to the next of ten."""


@dataclass
class PixelOutput(ModelOutput):
    """What a `PixelLM` returns.

    Attributes:
        loss: the mean of `nats`, where there are labels.
        nats: −log p of each label, (B, L), 0 where it does not count; where there are labels.
        logits: log p of every value of each pixel, (B, L, values); where there are none.
        past_key_values: the states of the layers, as `Transformer` returns them.
        hidden_states: what enters each layer, and what leaves the last, where they are asked for.
    """

    loss: Tensor | None = None
    nats: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Cache | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class LogisticHead(nn.Module):
    """Hidden states to the 3·M numbers of a `LogisticMixture`; its components start side by side over all values."""

    def __init__(self, width: int, mixtures: int):
        super().__init__()
        self.mixtures = mixtures
        self.proj = nn.Linear(width, 3 * mixtures)

    def forward(self, x_bld: Tensor) -> Tensor:
        return self.proj(x_bld)

    def init_weights(self, std: float) -> None:
        """Start with equal weights, means evenly from −1 to 1, and scales that let neighbours meet."""
        nn.init.normal_(self.proj.weight, std=std)
        places = torch.linspace(-1, 1, self.mixtures + 2)[1:-1]
        start = torch.cat([torch.zeros(self.mixtures), places, torch.full((self.mixtures,), _LOG_SCALE)])
        with torch.no_grad():
            self.proj.bias.copy_(start)


class PixelLM(ModelWithHead, StateGenerationMixin, GenerationMixin):  # Hugging Face wants its own as a direct base
    """Predicts the next pixel of an image in raster order, and generates through Hugging Face's `generate()`.

    Token i of the input is the pixel before pixel i: a black one (`bos_token_id`) stands in front of the first, so that
    positions are those of the pixels to predict, and the labels are the pixels themselves.
    """

    config_class = PixelConfig
    config: PixelConfig
    direction = True
    trained_as = "ForTokenClassification"  # labels are not shifted

    def __init__(self, config: PixelConfig):
        super().__init__(config)
        if config.tie_word_embeddings:
            raise Unsupported("a PixelLM has no output embedding to tie; leave tie_word_embeddings out")
        if config.vocab_size < 2:
            raise ValueError("pixels have at least 2 grey values, but vocab_size=1 was given")
        logistics = config.distribution == "logistics"
        self.pixel_head: nn.Module = (
            LogisticHead(config.width, config.mixtures) if logistics else nn.Linear(config.width, config.vocab_size)
        )
        self.post_init()

    def resize_token_embeddings(self, *args: Any, **options: Any) -> nn.Embedding:
        """Raise Unsupported: values of pixels are no words, of which more could be added."""
        raise Unsupported(
            f"a PixelLM has one token for each of {self.config.vocab_size} grey values, whose number its distribution "
            "is made for; build one with another vocab_size"
        )

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
        seq_idx: Tensor | None = None,
        cu_seq_lens_q: Tensor | None = None,
        cu_seq_lens_k: Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
    ) -> PixelOutput:
        """Return log-probabilities of every value of each pixel; or with labels, the loss, and −log p of each label.

        `labels` are the pixels that the tokens stand before, (B, L); −100 does not count. Log-probabilities of all
        values, for which a mixture forms L·values·M numbers, are left out beside them. `logits_to_keep` limits all to
        the last tokens, and labels to those of the kept ones. The rest as in `CausalLM.forward`; a row is one image,
        or holds several as documents, which do not see each other.
        """
        with self.collecting_losses(labels, num_items_in_batch) as auxiliary:
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
                seq_idx=seq_idx,
                cu_seq_lens_q=cu_seq_lens_q,
                cu_seq_lens_k=cu_seq_lens_k,
                max_length_q=max_length_q,
                max_length_k=max_length_k,
            )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        scores = self.pixel_head(out.last_hidden_state[:, kept])
        loss = nats = logits = None
        if labels is None:
            logits = self.log_probs(scores)
        else:
            nats = self.nats(scores, labels)
            counted = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
            loss = with_auxiliary(nats.sum() / counted, auxiliary, labels, num_items_in_batch)
        return PixelOutput(loss, nats, logits, out.past_key_values, out.hidden_states)

    def log_probs(self, scores: Tensor) -> Tensor:
        """Return log p of every value, (B, L, values), from the head's output."""
        if self.config.distribution == "logistics":
            return LogisticMixture.of(scores, self.config.vocab_size).log_probs()
        return scores.log_softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))

    def nats(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return −log p of each label, (B, L), from the head's output; 0 for −100."""
        if labels.shape != scores.shape[:-1]:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}; expected {tuple(scores.shape[:-1])}: the pixels that the "
                "tokens stand before; with logits_to_keep, those of the kept tokens"
            )
        counted_bl = labels != IGNORED
        values_bl = labels.where(counted_bl, 0)
        if self.config.distribution == "logistics":
            found_bl = LogisticMixture.of(scores, self.config.vocab_size).log_prob(values_bl)
        else:
            found_bl = self.log_probs(scores).gather(-1, values_bl.unsqueeze(-1)).squeeze(-1)
        return -found_bl.where(counted_bl, 0)
