"""One backbone and its heads, as Hugging Face classes that `AutoModel*.from_pretrained` finds once this is imported."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from formers.models.backbone import Transformer
from formers.models.cache import StateCache
from formers.models.causal_lm import CausalLM
from formers.models.config import TransformerConfig
from formers.models.conversion import Conversion
from formers.models.convert import convert_weights
from formers.models.decision_config import DecisionConfig
from formers.models.decision_transformer import DecisionTransformer
from formers.models.encoder_decoder import EncoderDecoder
from formers.models.masked_lm import MaskedLM
from formers.models.pixel_config import PixelConfig
from formers.models.pixel_lm import PixelLM
from formers.models.seq2seq_config import Seq2SeqConfig
from formers.models.seq2seq_lm import Seq2SeqLM
from formers.models.sequence_classifier import SequenceClassifier
from formers.models.static_cache import StaticStateCache
from formers.models.steps import count_steps, steps_taken
from formers.models.token_classifier import TokenClassifier

AutoConfig.register(TransformerConfig.model_type, TransformerConfig)
AutoConfig.register(DecisionConfig.model_type, DecisionConfig)
AutoConfig.register(PixelConfig.model_type, PixelConfig)
AutoConfig.register(Seq2SeqConfig.model_type, Seq2SeqConfig)
AutoModel.register(TransformerConfig, Transformer)
AutoModel.register(DecisionConfig, DecisionTransformer)
AutoModel.register(PixelConfig, PixelLM)
AutoModelForCausalLM.register(TransformerConfig, CausalLM)
AutoModelForCausalLM.register(PixelConfig, PixelLM)
AutoModel.register(Seq2SeqConfig, EncoderDecoder)
AutoModelForSeq2SeqLM.register(Seq2SeqConfig, Seq2SeqLM)
AutoModelForMaskedLM.register(TransformerConfig, MaskedLM)
AutoModelForSequenceClassification.register(TransformerConfig, SequenceClassifier)
AutoModelForTokenClassification.register(TransformerConfig, TokenClassifier)

__all__ = [
    "CausalLM",
    "Conversion",
    "DecisionConfig",
    "DecisionTransformer",
    "EncoderDecoder",
    "MaskedLM",
    "PixelConfig",
    "PixelLM",
    "Seq2SeqConfig",
    "Seq2SeqLM",
    "SequenceClassifier",
    "StateCache",
    "StaticStateCache",
    "TokenClassifier",
    "Transformer",
    "TransformerConfig",
    "convert_weights",
    "count_steps",
    "steps_taken",
]
