"""Pretrained models as commands are given them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    AutoConfig,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from formers.cli.pretrained import read_classifier, read_model, short_name


def test_a_model_has_its_folders_name_from_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine" / "deep")
    names = ["..", "../", str(tmp_path / "mine"), "../../mine/"]
    assert {short_name(name) for name in names} == {"mine"}
    assert short_name(".") == "deep"
    assert short_name("org/model") == "model"


def test_a_name_that_neither_the_disk_nor_the_hub_knows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> Any:
        raise OSError("my-modle is not a valid model identifier.\nIf this is a private repository, …")

    monkeypatch.setattr("formers.machine.hub.hub_trouble", lambda: None)
    monkeypatch.setattr(AutoConfig, "from_pretrained", unknown)
    with pytest.raises(FileNotFoundError, match="there is no folder my-modle, and no model of that name") as caught:
        read_model("my-modle", None)
    assert "not a valid model identifier.); give the path of a folder" in str(caught.value)


@pytest.mark.parametrize("gguf", [None, "weights.gguf"])
def test_without_a_network_it_is_said_at_once(monkeypatch: pytest.MonkeyPatch, gguf: str | None) -> None:
    monkeypatch.setattr("formers.machine.hub.hub_trouble", lambda: "https://huggingface.co does not answer: …")
    begun = time.monotonic()
    with pytest.raises(FileNotFoundError, match=r"no model of that name .*https://huggingface.co does not answer"):
        read_model("some/model-that-is-in-no-cache", gguf)
    assert time.monotonic() - begun < 5  # asked six times, it would be half a minute


def test_a_path_that_is_not_there_is_not_asked_of_the_hub() -> None:
    with pytest.raises(ValueError, match=r"there is no folder \./nowhere"):
        read_model("./nowhere", None)


@pytest.mark.parametrize(
    ("name", "gguf", "said"),
    [
        ("notes.txt", None, r"notes\.txt is a file; give the folder of a model"),
        ("folder/one.gguf", None, r"one\.gguf is a file; give .*folder --gguf one\.gguf"),
        ("folder", None, r"folder holds no config\.json, .*; it has a GGUF file: give --gguf one\.gguf"),
        ("folder", "two.gguf", r"folder holds no two\.gguf, .*: give --gguf one\.gguf"),
        ("empty", None, r"empty holds no config\.json, and so no model to be read$"),
    ],
)
def test_a_path_where_no_model_is_is_said(tmp_path: Path, name: str, gguf: str | None, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").mkdir()
    for file in ("notes.txt", "folder/one.gguf"):
        (tmp_path / file).touch()
    with pytest.raises(ValueError, match=said):
        read_model(str(tmp_path / name), gguf)


@pytest.mark.parametrize("name", ["folder/one.gguf", "folder"])
def test_a_classifier_is_not_to_be_given_as_gguf(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/one.gguf").touch()
    with pytest.raises(ValueError, match=r"give .*with config\.json and weights in safetensors") as refused:
        read_classifier(str(tmp_path / name))
    assert "--gguf" not in str(refused.value)


def test_quantised_weights_of_a_classifier_are_refused_without_a_way_that_is_none(tmp_path: Path) -> None:
    config = BertConfig(quantization_config={"quant_method": "gptq", "bits": 4})
    config.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").touch()
    with pytest.raises(ValueError, match=r"has quantised weights \(gptq\)") as refused:
        read_classifier(str(tmp_path))
    assert "GGUF" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (BertForMaskedLM, "holds a BertForMaskedLM, which is no causal language model"),
        (BertForSequenceClassification, "holds a BertForSequenceClassification, which is no causal language model"),
        (BertModel, "has no trained head that predicts words .* it is no causal language model"),
    ],
)
def test_an_encoder_is_not_read_as_a_language_model(tmp_path: Path, kind: type[PreTrainedModel], said: str) -> None:
    config = BertConfig(vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    kind(config).save_pretrained(tmp_path)
    words(tmp_path)
    with pytest.raises(ValueError, match=said):
        read_model(str(tmp_path), None)


def test_a_model_without_a_tokenizer_is_said(tmp_path: Path) -> None:
    config = LlamaConfig(vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a model and no tokenizer"):
        read_model(str(tmp_path), None)


def words(folder: Path) -> None:
    """Save a tokenizer of two words."""
    made = Tokenizer(WordLevel({"[UNK]": 0, "words": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]").save_pretrained(folder)
