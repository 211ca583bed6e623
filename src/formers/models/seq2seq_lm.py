"""The language model of an encoder–decoder: sequence to sequence."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.utils.generic import can_return_tuple

from formers.models.encoder_decoder import EncoderDecoder
from formers.models.generation import StateGenerationMixin
from formers.models.lm_head import ModelWithLMHead
from formers.models.losses import IGNORED, cross_entropy, with_auxiliary
from formers.models.packing import DocumentHints
from formers.models.seq2seq_config import Seq2SeqConfig
from formers.ops import can_read
from formers.part import Unsupported


class Seq2SeqLM(ModelWithLMHead, StateGenerationMixin, GenerationMixin):  # Hugging Face wants its own as a direct base
    """Writes a sequence that follows from another one: a source in, tokens out, with Hugging Face's `generate()`.

        model = Seq2SeqLM(Seq2SeqConfig(encoder_mixer=Linear(), mixer=Softmax(), cross=Softmax()))
        loss = model(source, attention_mask=mask, labels=target).loss
        model.generate(source, attention_mask=mask, num_beams=4)

    Generation runs the encoder once, and keeps what each layer has read of it beside the layer's own state.
    """

    config_class = Seq2SeqConfig
    config: Seq2SeqConfig
    backbone = EncoderDecoder
    direction = True
    trained_as = "ForTokenClassification"  # labels are not shifted
    own_mask = "decoder_attention_mask"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "lm_head.weight": "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight": "model.encoder.embed_tokens.weight",
    }

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
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        position_ids: Tensor | None = None,
        seq_idx: Tensor | None = None,
        cu_seq_lens_q: Tensor | None = None,
        cu_seq_lens_k: Tensor | None = None,
        max_length_q: int | None = None,
        max_length_k: int | None = None,
    ) -> Seq2SeqLMOutput:
        """Return logits of the next token of the output, (B, L, vocabulary), and the mean cross-entropy of labels.

        `labels` are the whole output, (B, L), padded on the right with −100, which does not count. Unless the decoder's
        inputs are given, they are the labels one place later, behind `decoder_start_token_id`. The rest as in
        `EncoderDecoder.forward` and `CausalLM.forward`.

        Raise Unsupported for `position_ids` and the marks of packed documents, such as `DataCollatorWithFlattening`
        makes: a row is one source and one output.
        """
        hints = DocumentHints(seq_idx, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k)
        _check_not_packed({"position_ids": position_ids, **hints._asdict()})
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        with self.collecting_losses(labels, num_items_in_batch) as auxiliary:
            out = self.model(
                input_ids,
                attention_mask,
                decoder_input_ids,
                decoder_attention_mask,
                encoder_outputs,
                past_key_values,
                inputs_embeds,
                decoder_inputs_embeds,
                use_cache=use_cache,
                output_hidden_states=output_hidden_states,
                output_attentions=output_attentions,
                return_dict=True,
            )
        logits = self.lm_head(out.last_hidden_state)
        loss = None
        if labels is not None:
            own = cross_entropy(logits, labels, num_items_in_batch)
            loss = with_auxiliary(own, auxiliary, labels, num_items_in_batch)
        return Seq2SeqLMOutput(loss=loss, logits=logits, **_without_last_state(out))

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Return what the decoder reads to write these labels: the start token, and the labels one place later.

        Raise ValueError, on the CPU, for a label behind one that does not count: what stood there is not known.
        """
        ignored_bl = labels == IGNORED
        if labels.device.type == "cpu" and can_read(labels) and bool((ignored_bl[:, :-1] & ~ignored_bl[:, 1:]).any()):
            raise ValueError(
                f"labels are padded with {IGNORED} on the right only, since they are the decoder's inputs, too; give "
                "decoder_input_ids and decoder_attention_mask for others"
            )
        start = self.config.decoder_start_token_id
        later = labels.roll(1, 1).masked_fill(ignored_bl.roll(1, 1), start)
        later[:, 0] = start
        return later

    def example_inputs(self, length: int) -> dict[str, Tensor]:
        """Return a source and an output of `length` tokens each, without data."""
        return self.model.example_inputs(length)


def _check_not_packed(given: dict[str, Any]) -> None:
    """Raise Unsupported for marks of documents that are packed into rows."""
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise Unsupported(
            f"{', '.join(names)} was given, but an encoder–decoder reads one source a row and writes one output: marks "
            "of documents packed into rows do not say which of the outputs follows from which source, and tokens are "
            "counted from the start of each. Give each pair a row, padded, as DataCollatorForSeq2Seq does"
        )


def _without_last_state(out: Any) -> dict[str, Any]:
    """Return the fields of a model's output beside its last hidden state."""
    return {name: value for name, value in out.items() if name != "last_hidden_state"}
