"""The example of long prompts: its prompt holds the code, its answers are the model's, its layers those that matter."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from string import printable

import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from formers.adapt import use_attention

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
example = import_module("long_prompt")


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Characters, and a chat template."""
    vocabulary = {character: i for i, character in enumerate(printable)}
    characters = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    characters.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=characters)
    made.chat_template = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    return made


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 4, "intermediate_size": 24, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=len(printable), initializer_range=0.5)).eval()


def test_the_prompt_has_the_code_where_it_was_asked_for(tokenizer: PreTrainedTokenizerFast) -> None:
    for depth in (0.1, 0.9):
        ids = example.prompt(tokenizer, 900, depth)
        assert 860 <= ids.shape[1] <= 900
        text = tokenizer.decode(ids[0])
        assert text.endswith("The secret code of the vault is ")
        assert abs(text.index("58213") / len(text) - depth) < 0.15
    with pytest.raises(SystemExit, match="leaves"):
        example.prompt(tokenizer, 100, 0.5)


def test_answers_are_the_models(tokenizer: PreTrainedTokenizerFast) -> None:
    ids, tiny = example.prompt(tokenizer, 300, 0.5), model()
    code = tokenizer("58213", return_tensors="pt")["input_ids"]
    for mixer in (None, "window(16) | sinks(4)"):
        if mixer is not None:
            use_attention(tiny, mixer)
        with torch.no_grad():
            logits = tiny(input_ids=torch.cat([ids, code], 1), use_cache=False).logits[0, ids.shape[1] - 1 : -1]
        answer = example.ask(tiny, tokenizer, ids)
        assert answer.nats == pytest.approx(float(cross_entropy(logits, code[0], reduction="sum")), rel=1e-4)
        assert answer.cache > 0
    layers = example.needed_layers(tiny, tokenizer, 3, 300, "window(4)")
    assert layers in ([0, 1, 2], [3])


def test_positions_reach_from_the_trained_length_to_the_prompts() -> None:
    plain = model()
    positions = {"rope_parameters": example.scaled(plain.config, 8192, 2048)}
    longer = LlamaForCausalLM(LlamaConfig(**plain.config.to_dict() | positions))
    slow, slower = (one.model.rotary_emb.inv_freq for one in (plain, longer))
    assert slower[0] == slow[0]
    assert float(slower[-1] * 4) == pytest.approx(float(slow[-1]))
    with pytest.raises(SystemExit, match="--trained 2048 is for longer prompts than --length 2048"):
        example.scaled(plain.config, 2048, 2048)
