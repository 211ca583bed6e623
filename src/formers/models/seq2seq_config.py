"""The configuration of an encoder–decoder."""

from __future__ import annotations

from typing import Any

from formers.mixers import Mixer, Softmax
from formers.models.config import TransformerConfig
from formers.part import Unsupported


class Seq2SeqConfig(TransformerConfig):
    """Sizes and parts of an encoder–decoder. What both stacks have alike is named as in every model.

    `mixer` and `depth` are the decoder's, which is causal; `memory` and `computation` too: the encoder has none of a
    memory, and runs each layer once. `tie_word_embeddings` ties the embeddings of both and the output projection.

    Attributes:
        encoder_mixer: how tokens of the source exchange information: any bidirectional mixer; a list is cycled over
            the encoder's layers.
        encoder_depth: the encoder's layers.
        cross: how the decoder's tokens read the source: a mixer with the ability `cross`.
        decoder_start_token_id: the token in front of every output.
    """

    model_type = "formers_seq2seq"
    part_options = {**TransformerConfig.part_options, "encoder_mixer": Mixer, "cross": Mixer}  # noqa: RUF012
    effective = frozenset({"is_encoder_decoder"})

    encoder_mixer: Any = Softmax()
    encoder_depth: int = 6
    cross: Any = Softmax()
    decoder_start_token_id: int = 0
    is_encoder_decoder: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not self.is_encoder_decoder:
            raise Unsupported("a Seq2SeqConfig has an encoder and a decoder; leave out is_encoder_decoder=False")
        if isinstance(self.cross, tuple):
            raise Unsupported("cross is one mixer, the same in all layers of the decoder")

    def encoder(self) -> TransformerConfig:
        """Return the configuration of the encoder."""
        names = [name for name in TransformerConfig.own_names() if name not in ("memory", "computation")]
        shared = TransformerConfig(**{name: getattr(self, name) for name in names})
        return shared.swap(mixer=self.encoder_mixer, depth=self.encoder_depth, causal=False, use_cache=False)
