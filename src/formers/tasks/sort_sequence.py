"""Sorting as sequence to sequence: an encoder reads an array, a decoder writes it in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from formers.part import evaluating
from formers.tasks.sort import Sort

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from formers.models import TransformerConfig

_ROWS = 256  # arrays that are sorted at once


class SortSequence(Sort):
    """Sort an array of random symbols by writing it anew: an encoder–decoder reads it, and gives symbol after symbol.

    Arrays and splits are those of `sort`. The decoder writes as many symbols as the array has, each the likeliest after
    those that it wrote itself; what it needs of the array it has to read by cross-attention.
    """

    description: ClassVar[str] = (
        "Sort an array of random symbols, sequence to sequence: an encoder reads it, a decoder writes it in order, one "
        "symbol after the other. Measured on arrays that are never trained on; an array counts only when all of it is "
        "right."
    )
    head: ClassVar[str] = "Seq2SeqLM"
    arms: ClassVar[tuple[str, ...]] = (
        "softmax: cross=softmax",
        "linear cross: cross=linear",
        "linear encoder: encoder_mixer=linear",
        "linear decoder: mixer=linear",
        "linear: encoder_mixer=linear, mixer=linear, cross=linear",
        "fourier encoder: encoder_mixer=fourier",
        "nothing mixed in the encoder: encoder_mixer=identity",
    )

    def base(self) -> TransformerConfig:
        from formers.models import Seq2SeqConfig
        from formers.positions import Learned

        return Seq2SeqConfig(
            vocab_size=self.symbols + 1,
            decoder_start_token_id=self.symbols,
            width=64,
            depth=2,
            encoder_depth=2,
            heads=4,
            position=Learned(),
            context_length=self.length,
            initializer_range=0.1,  # about 1/√width; the usual 0.02 suits widths in the thousands
        )

    def answers(self, model: PreTrainedModel, inputs: Tensor) -> Tensor:
        """Return the symbols that the decoder writes, (B, L)."""
        with evaluating(model):
            written = [self.written(model, rows.to(model.device)) for rows in inputs.split(_ROWS)]
        return torch.cat(written)

    def written(self, model: PreTrainedModel, inputs: Tensor) -> Tensor:
        """Return what the decoder writes, behind its start token, on the CPU."""
        mask, length = torch.ones_like(inputs), inputs.shape[1]
        out = model.generate(inputs, attention_mask=mask, max_new_tokens=length, min_new_tokens=length, do_sample=False)
        return out[:, 1:].cpu()
