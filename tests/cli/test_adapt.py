"""`formers adapt` on a tiny Llama of characters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from typer.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def model(here: Path) -> str:
    """A model of the characters of words.txt, with its tokenizer."""
    vocabulary = {character: i for i, character in enumerate(sorted(set((here / "words.txt").read_text())))}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[]))).save_pretrained("tiny")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=len(vocabulary), bos_token_id=0)).save_pretrained("tiny")
    return "tiny"


def test_table_picture_and_plan(command: Run, model: str, here: Path) -> None:
    words = ["--text", "words.txt", "--tokens", "64", "--row", "32", "--mixer", "window(4) | sinks(2)"]
    shown = command("adapt", model, *words, "--budget", "5KB at 1k")
    assert shown.exit_code == 0, shown.output
    assert "64 tokens in rows of 32" in shown.output
    assert "its own" in shown.output
    assert "window(4) | sinks(2)" in shown.output
    assert "measured on the 64 tokens before" in shown.output
    assert (here / "adapt" / "swaps.png").read_bytes().startswith(b"\x89PNG")
    page = (here / "adapt" / "swaps.html").read_text()
    assert "Plan for 5KB at 1k" in page
    again = command("adapt", model, *words, "--no-each-layer", "--time", "16,32")
    assert again.exit_code == 0, again.output
    assert "each token" in again.output
    assert "Measured</h2>" in (here / "adapt" / "swaps.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--row", "100000"], "not the 100,000 of one row"),
        (["--time", "1k,much"], "expected like '1k,4k,8k'"),
        (["--mixer", "metric()"], "knows no other weights"),
        (["--mixer", "windw(4)"], "windw"),
        (["--budget", "much"], "expected like '1MB at 8k'"),
        (["--budget", "1MB at 8k", "--no-each-layer"], "leave out --no-each-layer"),
    ],
)
def test_what_cannot_be_is_said(command: Run, model: str, words: list[str], message: str) -> None:
    refused = command("adapt", model, "--text", "words.txt", "--tokens", "64", "--row", "32", *words)
    assert refused.exit_code == 2, refused.output
    assert message in refused.output


def test_quantised_weights_are_refused(command: Run, model: str, here: Path) -> None:
    file = here / model / "config.json"
    quantised = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    file.write_text(json.dumps(json.loads(file.read_text()) | quantised))
    refused = command("adapt", model, "--text", "words.txt")
    assert refused.exit_code == 2, refused.output
    assert "has quantised weights (gptq)" in refused.output


BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TASK = ["--task", "classify(path='texts.tsv')", "--mixer", "window(1)"]


@pytest.fixture
def classifier(here: Path) -> str:
    """A random BERT with two classes, and texts of these."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film"]
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(pieces), max_position_embeddings=32, initializer_range=0.5, **BERT)
    for folder, kind in {"bert": BertForSequenceClassification, "headless": BertModel}.items():
        kind(config).save_pretrained(folder)
        BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}).save_pretrained(folder)
    texts = [(f"{'a good film ' * (1 + i % 5)} {i}", ("neg", "pos")[i % 2]) for i in range(80)]
    (here / "texts.tsv").write_text("\n".join(["text\tlabel", *("\t".join(one) for one in texts)]) + "\n")
    return "bert"


def test_a_classifier_is_measured_by_its_score(command: Run, classifier: str, here: Path) -> None:
    shown = command("adapt", classifier, *TASK, "--time", "8,16")
    assert shown.exit_code == 0, shown.output
    assert "accuracy" in shown.output
    assert "perplexity" not in shown.output
    assert "cache, 8k" not in shown.output
    results = json.loads((here / "adapt" / "swaps.json").read_text())
    assert results["quality"] == "accuracy"
    assert [swap["layers"] for swap in results["swaps"]] == [[], [0, 1], [0], [1]]
    assert all(-1 <= swap["nats"] <= 0 for swap in results["swaps"])
    assert all(row["prefill_seconds"] > 0 and row["token_seconds"] is None for row in results["speeds"])
    page = (here / "adapt" / "swaps.html").read_text()
    assert "The loss of accuracy where one layer" in page
    assert "perplexity" not in page.lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*TASK, "--text", "words.txt"], "--text does nothing with --task"),
        ([*TASK, "--budget", "1MB at 8k"], "--budget does nothing with --task"),
        (["--task", "shakespeare"], "gives no classes to texts"),
    ],
)
def test_what_classifiers_cannot_is_said(command: Run, classifier: str, words: list[str], message: str) -> None:
    refused = command("adapt", classifier, *words)
    assert refused.exit_code == 2, refused.output
    assert message in " ".join(refused.output.split())


def test_a_model_without_a_trained_head_is_refused(command: Run, classifier: str) -> None:
    refused = command("adapt", "headless", *TASK)
    assert refused.exit_code == 2, refused.output
    assert "has no trained head for classes" in " ".join(refused.output.split())
