"""`formers repair` on a tiny Llama of characters: from a plan to a saved model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from typer.testing import Result

pytest.importorskip("peft", reason="PEFT is not installed")
Run = Callable[..., Result]
WORDS = ["--text", "words.txt", "--tokens", "128", "--held-out", "64", "--row", "16"]
STEPS = ["--transfer", "2", "--tune", "2", "--rank", "2"]


@pytest.fixture
def model(here: Path) -> str:
    vocabulary = {character: i for i, character in enumerate(sorted(set((here / "words.txt").read_text())))}
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[]))).save_pretrained("tiny")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(**sizes, vocab_size=len(vocabulary), bos_token_id=0)).save_pretrained("tiny")
    return "tiny"


def test_a_plan_is_made_into_a_model(command: Run, model: str, here: Path) -> None:
    mixers = ["--mixer", "window(4) | sinks(2)"]
    planned = command(
        "adapt", model, "--text", "words.txt", "--tokens", "32", "--row", "16", *mixers, "--budget", "200KB at 1k"
    )
    assert planned.exit_code == 0, planned.output
    repaired = command("repair", model, *WORDS, *STEPS, "--plan", "adapt/swaps.json", "--time", "8")
    assert repaired.exit_code == 0, repaired.output
    assert "after tuning" in repaired.output
    assert "Stage by stage" in (here / "repair" / "repair.html").read_text()
    saved = AutoModelForCausalLM.from_pretrained(here / "repair" / "model")
    assert {str(saved.config.mixer_at(i)) for i in range(2)} == {"softmax()", "sparse(pattern=window(4) | sinks(2))"}
    tokens = AutoTokenizer.from_pretrained(here / "repair" / "model")((here / "words.txt").read_text()[:20])
    assert saved.generate(torch.tensor([tokens["input_ids"]]), max_new_tokens=3).shape[1] == 23
    again = command("repair", model, *WORDS, *STEPS, "--plan", "adapt/swaps.json", "--time", "8")
    assert again.exit_code == 0, again.output


def test_the_model_that_is_read_takes_no_room_on_the_device(
    command: Run, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, move = list[str](), PreTrainedModel.to

    def noted(self: PreTrainedModel, *args: Any, **options: Any) -> PreTrainedModel:
        moved.append(type(self).__name__)
        return move(self, *args, **options)

    def stop(*given: Any) -> None:
        raise ValueError("enough")

    monkeypatch.setattr(PreTrainedModel, "to", noted)
    monkeypatch.setattr("formers.cli.repair._run", stop)
    done = command("repair", model, *WORDS, "--mixer", "window(4)")
    assert "enough" in done.output
    assert moved[-2:] == ["CausalLM", "CausalLM"]
    assert "LlamaForCausalLM" not in moved


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--row", "100000"], "at least 2 are held out"),
        (["--mixer", "linear", "--mixer", "softmax", "--layers", "::2"], "--layers is for one mixer"),
        (["--plan", "adapt/swaps.json", "--mixer", "linear"], "--mixer does nothing with --plan"),
        (["--time", "soon"], "expected like '1k,4k,8k'"),
    ],
)
def test_what_cannot_be_is_said(command: Run, model: str, words: list[str], message: str) -> None:
    refused = command("repair", model, *WORDS, *words)
    assert refused.exit_code == 2, refused.output
    assert message in refused.output
