"""`formers calibrate` finds a threshold, writes the model with it, and says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from formers.models import CausalLM, TransformerConfig
from formers.tasks.characters import Characters
from formers.tasks.corpus.pieces import Pieces
from formers.tasks.corpus.tokenizer_kinds import character_tokenizer

ALPHABET = "abcdefgh\n"


@pytest.fixture
def folder(here: Path) -> Path:
    """A model of nine characters whose layers agree, and a text for it."""
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab_size=len(ALPHABET), width=16, depth=4, heads=2, context_length=32, computation="early_exit"
    )
    CausalLM(config).save_pretrained(here / "model")
    Characters(ALPHABET).save(here / "model")
    numbers = torch.randint(len(ALPHABET), (6000,)).tolist()
    (here / "text.txt").write_text("".join(ALPHABET[number] for number in numbers))
    return here / "model"


def words(folder: Path, *more: str) -> list[str]:
    options = ["--text", str(folder.parent / "text.txt"), "--length", "16", "--windows", "80"]
    return ["calibrate", str(folder), *options, *more]


def test_a_model_is_calibrated_and_written(command: Any, folder: Path) -> None:
    output = folder.parent / "calibrated"
    result = command(*words(folder, "--rule", "saturation", "--delta", "0.3", "--output", str(output)))
    assert result.exit_code == 0, result.output
    assert "80 windows; δ = 0.3, ε = 0.05" in result.output
    assert "times as fast" in result.output
    rule = CausalLM.from_pretrained(output).config.computation.rule
    assert f"threshold {rule.threshold:g}: on 80 other windows disagreement" in result.output
    assert Characters.load(output).alphabet == ALPHABET


def test_a_model_with_a_tokenizer_is_calibrated(command: Any, folder: Path) -> None:
    (folder / "characters.json").unlink()
    Pieces(character_tokenizer(ALPHABET, ends=False)).save(folder)
    output = folder.parent / "calibrated"
    result = command(*words(folder, "--rule", "saturation", "--delta", "0.3", "--output", str(output)))
    assert result.exit_code == 0, result.output
    assert "80 windows; δ = 0.3, ε = 0.05" in result.output
    assert Pieces.load(output).encode("hag\n").tolist() == [7, 0, 6, 8]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "has no threshold to find"),
        (("--rule", "marign"), "did you mean 'margin'"),
        (("--rule", "classifier"), "confidence_proj"),
        (("--rule", "margin", "--delta", "1.5"), "delta must be between 0 and 1"),
        (("--rule", "margin", "--delta", "0.01"), "no threshold keeps a disagreement of 0.01"),
        (("--rule", "margin", "--risk", "loss"), "risk"),
    ],
    ids=str,
)
def test_what_is_missing_is_said(command: Any, folder: Path, more: tuple[str, ...], message: str) -> None:
    result = command(*words(folder, *more))
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "should not happen" not in result.output
