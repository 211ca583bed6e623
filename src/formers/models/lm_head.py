"""The head of language models: a score for every token of the vocabulary."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from formers.ffn import ACTIVATIONS
from formers.models.config import TransformerConfig
from formers.models.model_with_head import ModelWithHead
from formers.part import Unsupported


class ModelWithLMHead(ModelWithHead):
    """A head that multiplies hidden states with the embedding, which it shares unless `tie_word_embeddings=False`.

    With `head_bias` each token of the vocabulary has a bias. Raise ValueError where the two are tied, but not of one
    width.
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        width = self.model.get_input_embeddings().embedding_dim
        if self.config.tie_word_embeddings and width != config.width:
            raise ValueError(
                f"the embedding is {width} wide and the model {config.width}, because {config.position} is "
                "concatenated; set tie_word_embeddings=False"
            )
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=config.head_bias)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the layer that scores tokens."""
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replace the layer that scores tokens."""
        self.lm_head = value


class HeadTransform(nn.Module):
    """norm(activation(W x + b)), between the hidden states and the scores of tokens, as in BERT's masked LM head."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        if config.head_transform is None:
            raise Unsupported("a head's transform needs an activation: head_transform=None was given")
        self.dense = nn.Linear(config.width, config.width)
        self.activation = ACTIVATIONS[config.head_transform]
        self.norm = config.norm.build(config.site())

    def forward(self, hidden_bld: Tensor) -> Tensor:
        """Return (…, D) → (…, D)."""
        transformed: Tensor = self.norm(self.activation(self.dense(hidden_bld)))
        return transformed
