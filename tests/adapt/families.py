"""Tiny models of families that are known to call Hugging Face's attention interface, or known not to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BigBirdConfig,
    BigBirdModel,
    BloomConfig,
    BloomForCausalLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    DistilBertModel,
    FNetConfig,
    FNetModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    MinistralConfig,
    MinistralForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaModel,
    XLNetConfig,
    XLNetModel,
)

VOCABULARY = 60
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "vocab_size": VOCABULARY}
HEADS = {"num_attention_heads": 4}
GROUPED = SIZES | HEADS | {"num_key_value_heads": 2}


def gpt2() -> PreTrainedModel:
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": 128}
    return GPT2LMHeadModel(GPT2Config(**sizes, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0))


def distilbert(kind: type[PreTrainedModel] = DistilBertModel) -> PreTrainedModel:
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": VOCABULARY}
    return kind(DistilBertConfig(**sizes, num_labels=3))


DECODERS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=None)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GROUPED, head_dim=12)),
    "gpt2": gpt2,
}
ENCODERS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**SIZES, **HEADS)),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES, **HEADS)),
    "distilbert": distilbert,
}
DEAF: dict[str, Callable[[], PreTrainedModel]] = {
    "bigbird": lambda: BigBirdModel(BigBirdConfig(**SIZES, **HEADS, attention_type="original_full")),
    "fnet": lambda: FNetModel(FNetConfig(**SIZES)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=VOCABULARY)),
    "xlnet": lambda: XLNetModel(XLNetConfig(d_model=32, n_layer=2, n_head=4, d_inner=48, vocab_size=VOCABULARY)),
}
"""Families that take the name of an attention function, and compute their own all the same."""


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
ENCODER_HEADS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert masked": lambda: BertForMaskedLM(BertConfig(**SIZES, **HEADS)),
    "bert untied": lambda: BertForMaskedLM(BertConfig(**SIZES, **HEADS, tie_word_embeddings=False, hidden_act="relu")),
    "bert sequences": lambda: BertForSequenceClassification(BertConfig(**SIZES, **HEADS, num_labels=3)),
    "bert tokens": lambda: BertForTokenClassification(BertConfig(**SIZES, **HEADS, num_labels=3)),
    "roberta masked": lambda: RobertaForMaskedLM(RobertaConfig(**SIZES, **HEADS)),
    "roberta sequences": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES, **HEADS, num_labels=3)),
    "roberta tokens": lambda: RobertaForTokenClassification(RobertaConfig(**SIZES, **HEADS, num_labels=3)),
    "xlm-roberta masked": lambda: XLMRobertaForMaskedLM(XLMRobertaConfig(**SIZES, **HEADS)),
    "distilbert masked": lambda: distilbert(DistilBertForMaskedLM),
    "distilbert sequences": lambda: distilbert(DistilBertForSequenceClassification),
    "distilbert tokens": lambda: distilbert(DistilBertForTokenClassification),
}
CONVERTED: dict[str, Callable[[], PreTrainedModel]] = {
    **{name: DECODERS[name] for name in ("llama", "mistral", "gpt2")},
    **ENCODERS,
    "llama backbone": lambda: LlamaModel(LlamaConfig(**GROUPED)),
    "llama tied, biased": lambda: LlamaForCausalLM(
        LlamaConfig(**GROUPED, tie_word_embeddings=True, attention_bias=True)
    ),
    "llama 3.1": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=LLAMA3)),
    "llama, wide heads": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, head_dim=12)),
    "qwen3": DECODERS["qwen3"],
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "qwen2, windows": lambda: Qwen2ForCausalLM(
        Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=5, max_window_layers=1)
    ),
    "mistral, window": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=5)),
    "ministral": lambda: MinistralForCausalLM(
        MinistralConfig(**GROUPED, head_dim=8, sliding_window=5, layer_types=["sliding_attention", "full_attention"])
    ),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**GROUPED, pad_token_id=0)),
    "phi3, window": lambda: Phi3ForCausalLM(Phi3Config(**GROUPED, pad_token_id=0, sliding_window=5)),
    **ENCODER_HEADS,
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES, **HEADS)),
}
"""Models that are models of this library, too."""


def made(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """Return the model with weights of some size, so that attention is far from uniform, in float64."""
    torch.manual_seed(0)
    model = make().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model
