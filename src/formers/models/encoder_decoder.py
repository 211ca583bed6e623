"""An encoder and a decoder that reads it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqModelOutput
from transformers.utils.generic import can_return_tuple

from formers.models.backbone import Transformer
from formers.models.cross_decoder import CrossDecoder
from formers.models.pretrained import FormersModel
from formers.models.seq2seq_config import Seq2SeqConfig


class EncoderDecoder(FormersModel):
    """A bidirectional `Transformer` reads the source once; a causal one, the decoder, writes what follows from it.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.
    """

    config_class = Seq2SeqConfig
    config: Seq2SeqConfig
    _tied_weights_keys: ClassVar[dict[str, str]] = {"decoder.embed_tokens.weight": "encoder.embed_tokens.weight"}

    def __init__(self, config: Seq2SeqConfig):
        config = copy.deepcopy(config)
        if config.causal is False:
            raise ValueError("an encoder–decoder has a causal decoder; leave out causal=False")
        config.causal = True
        super().__init__(config)
        self.encoder = Transformer(config.encoder())
        self.decoder = CrossDecoder(config)
        self.streaming = self.decoder.streaming
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: BaseModelOutput | tuple[Tensor, ...] | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Seq2SeqModelOutput:
        """Return the decoder's hidden states, and those of the encoder.

        Args:
            input_ids: tokens of the source, (B, S); or `inputs_embeds`, (B, S, D); neither beside `encoder_outputs`.
            attention_mask: 1 = a real token of the source, 0 = padding, (B, S).
            decoder_input_ids: tokens of the output so far, (B, L), the start token first; or `decoder_inputs_embeds`.
            decoder_attention_mask: 1 = a real token of the output, (B, L), or with the past in front.
            encoder_outputs: what an earlier call returned of the encoder, in the place of the source.
            past_key_values: the `StateCache` of an earlier call. It holds what the layers have read of the source:
                the encoder does not run again, and a source beside a cache with tokens is not looked at.
            use_cache, output_hidden_states, output_attentions, return_dict: as in `Transformer.forward`.

        Raise ValueError without a source; the rest as in `Transformer.forward`.
        """
        shown: dict[str, Any] = {
            "output_hidden_states": output_hidden_states,
            "output_attentions": output_attentions,
            "return_dict": True,
        }
        start = encoded = None
        if past_key_values is None or not past_key_values.get_seq_length():
            encoded = self._encoded(input_ids, attention_mask, encoder_outputs, inputs_embeds, shown)
            start = self.decoder.read(encoded[0], self._source_mask(attention_mask, encoded[0]))
        out = self.decoder(
            decoder_input_ids,
            decoder_attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            start=start,
            **shown,
        )
        return Seq2SeqModelOutput(
            last_hidden_state=out.last_hidden_state,
            past_key_values=out.past_key_values,
            decoder_hidden_states=out.hidden_states,
            encoder_last_hidden_state=None if encoded is None else encoded[0],
            encoder_hidden_states=getattr(encoded, "hidden_states", None),
        )

    def _encoded(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor | None,
        encoder_outputs: BaseModelOutput | tuple[Tensor, ...] | None,
        inputs_embeds: Tensor | None,
        shown: dict[str, Any],
    ) -> Any:
        """Return the encoder's outputs: those given, or of a run over the source."""
        if encoder_outputs is not None:
            return encoder_outputs
        if input_ids is None and inputs_embeds is None:
            raise ValueError("an encoder–decoder needs a source: give input_ids, inputs_embeds or encoder_outputs")
        return self.encoder(input_ids, attention_mask, inputs_embeds=inputs_embeds, **shown)

    def _source_mask(self, attention_mask: Tensor | None, source_bsd: Tensor) -> Tensor | None:
        """Return the source's mask as booleans, (B, S). Raise ValueError for one that does not fit."""
        if attention_mask is None:
            return None
        if attention_mask.shape != source_bsd.shape[:2]:
            raise ValueError(
                f"attention_mask has shape {tuple(attention_mask.shape)}; expected (batch, length) = "
                f"{tuple(source_bsd.shape[:2])} of the source, 1 for a real token and 0 for padding"
            )
        return attention_mask.bool()

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding of the source's tokens, which is the decoder's, too, where they are tied."""
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the embedding of the source's tokens, and with it the decoder's where they are tied."""
        self.encoder.embed_tokens = value
        if self.config.tie_word_embeddings:
            self.decoder.embed_tokens = value

    def resize_other_tables(self, resized: Callable[[nn.Module], Any]) -> None:
        """Change the number of tokens that the decoder's own embedding has; see `resize_token_embeddings`."""
        if not self.config.tie_word_embeddings:
            self.decoder.set_input_embeddings(resized(self.decoder.embed_tokens))

    def separate_layers(self) -> list[nn.Module]:
        """Return the layers of both stacks that run as modules of their own; see `Transformer`."""
        return [*self.encoder.separate_layers(), *self.decoder.separate_layers()]

    def check_past(self, past: Cache) -> None:
        """Raise unless the decoder can go on from this cache; see `Transformer`."""
        self.decoder.check_past(past)

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return a source and an output of `length` tokens each, without data."""
        ids = torch.zeros(1, length, dtype=torch.long, device="meta")
        return {"input_ids": ids, "decoder_input_ids": ids}
