"""Folders of converted models load with Hugging Face's own loaders, tokenizer, settings and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    pipeline,
)

from formers import CausalLM
from formers.adapt import convert, from_hf
from formers.testing.compare import assert_same

from .families import GROUPED, made

WORDS = ["[PAD]", "[EOS]", "[UNK]", "[MASK]", *(f"w{i}" for i in range(56))]


def tokenizer(words: list[str] = WORDS) -> Any:
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.pre_tokenizer = Whitespace()
    special = {"pad_token": "[PAD]", "eos_token": "[EOS]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


def llama() -> Any:
    model = made(lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, pad_token_id=0, eos_token_id=1, bos_token_id=None)))
    model.generation_config = GenerationConfig(max_new_tokens=5, eos_token_id=1, pad_token_id=0, repetition_penalty=1.5)
    return model.float()


@pytest.mark.filterwarnings("ignore:.*sequential")
def test_a_converted_model_loads_with_tokenizer_card_and_settings(tmp_path: Path) -> None:
    theirs = llama()
    theirs.name_or_path = "someone/a-model"
    model = convert(theirs, {0: "window(4) | sinks(1)"}).model
    model.save_pretrained(tmp_path, tokenizer=tokenizer())
    loaded, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert type(loaded) is CausalLM
    inputs = words(["w1 w2 w3", "w4 w5 w6"], return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        assert_same(loaded(**inputs).logits, model.eval()(**inputs).logits, "logits", 1e-5)
    assert loaded.generation_config.repetition_penalty == 1.5
    assert loaded.generation_config.max_new_tokens == 5
    run = pipeline("text-generation", model=str(tmp_path))
    said = run("w1 w2 w3", do_sample=False, return_tensors=True)[0]["generated_token_ids"]
    want = loaded.generate(**words("w1 w2 w3", return_tensors="pt", return_token_type_ids=False), do_sample=False)
    assert said == want[0].tolist()
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    for line in ("pipeline_tag: text-generation", "base_model: someone/a-model", "come from `someone/a-model`"):
        assert line in card
    assert 'pipeline("text-generation", model="path/to/this/folder")' in card
    assert "- mixer: `[sparse(pattern=window(4) | sinks(1), kv_heads=2), softmax(kv_heads=2)]`" in card


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    model = from_hf(llama())
    with pytest.raises(ValueError, match=r"the tokenizer has 61 tokens, but the model's vocabulary 60"):
        model.save_pretrained(tmp_path / "new", tokenizer=tokenizer([*WORDS, "one_more"]))
    assert not (tmp_path / "new").exists()
    with pytest.warns(UserWarning, match=r"has 30 tokens, and the model's vocabulary 60: is it another") as told:
        model.save_pretrained(tmp_path, tokenizer=tokenizer(WORDS[:30]))
    assert [warning.filename for warning in told] == [__file__]
    with pytest.raises(ValueError, match=r"tokens from 3 to 60, but the model knows 0 to 59; take the tokenizer"):
        model(torch.tensor([[3, 60]]))
