"""`formers knn`: build, tune and eval, on a tiny model."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import Result

import formers.retrieval
from formers.cli import knn
from formers.models import CausalLM, TransformerConfig
from formers.tasks.characters import Characters
from formers.tasks.corpus.pieces import Pieces
from formers.tasks.corpus.tokenizer_kinds import tokenizer_for

Run = Callable[..., Result]


@pytest.fixture
def model(here: Path) -> str:
    """A model of the characters of words.txt."""
    torch.manual_seed(0)
    characters = Characters.of((here / "words.txt").read_text())
    config = TransformerConfig(vocab_size=len(characters), width=16, depth=1, heads=2, context_length=32)
    CausalLM(config).save_pretrained(here / "model")
    characters.save(here / "model")
    return "model"


def bits(output: str, name: str) -> float:
    return float(re.search(rf"{name} +([\d.]+) bits", output)[1])  # type: ignore[index]


def test_build_tune_eval(command: Run, model: str) -> None:
    built = command("knn", "build", model, "store", "--text", "words.txt")
    assert built.exit_code == 0, built.output
    assert "2,879 entries of 16 values: store" in built.output
    tuned = command("knn", "tune", model, "store", "--text", "words.txt")
    assert tuned.exit_code == 0, tuned.output
    [line] = [line for line in tuned.output.splitlines() if line.startswith("formers knn eval")]
    shown = command(*line.split()[1:], "--index", "ivf_pq(lists=4, code_bytes=4)")
    assert shown.exit_code == 0, shown.output
    assert bits(shown.output, "with neighbours") < 0.3 < bits(shown.output, "model alone")


def test_the_command_that_tune_suggests_has_its_options(
    command: Run, model: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "my words.txt").write_text((here / "words.txt").read_text() + "Ω")
    monkeypatch.setattr("formers.part.load_parts", lambda file: None)
    options = ["--text", "my words.txt", "--length", "16", "--context", "4", "--index", "flat", "--drop-unknown"]
    options += ["--parts", "own.py"]
    best = SimpleNamespace(k=4, temperature=2.0, weight=0.25)
    score = SimpleNamespace(bits=1.0, nats=1.0)
    found = SimpleNamespace(options=best, model=score, table={(4, 2.0): (0.25, score)})
    monkeypatch.setattr(formers.retrieval, "tune", lambda *given, **more: found)
    monkeypatch.setattr(knn, "_retriever", lambda *given: None)
    tuned = command("knn", "tune", model, "my store", *options)
    assert tuned.exit_code == 0, tuned.output
    told = shlex.split(tuned.output.splitlines()[-1])
    chosen = ["--k", "4", "--temperature", "2", "--weight", "0.25"]
    assert told == ["formers", "knn", "eval", model, "my store", *chosen, *options]


@pytest.fixture
def token_model(here: Path) -> str:
    """A model of the pieces of words.txt, saved with their tokenizer as tasks save it."""
    torch.manual_seed(0)
    text = (here / "words.txt").read_text()
    coder = Pieces(tokenizer_for("bpe", 270, [text], [text]))
    config = TransformerConfig(vocab_size=len(coder), width=16, depth=1, heads=2, context_length=32)
    CausalLM(config).save_pretrained(here / "tokens")
    coder.save(here / "tokens")
    return "tokens"


def test_a_model_with_a_tokenizer(command: Run, token_model: str, here: Path) -> None:
    (here / "corpus").mkdir()
    for name in ("train", "valid", "test"):
        (here / "corpus" / f"{name}.txt").write_text((here / "words.txt").read_text())
    built = command("knn", "build", token_model, "store", "--text", "corpus")
    assert built.exit_code == 0, built.output
    words = ["knn", "tune", token_model, "store", "--text", "corpus", "--tokens", "200"]
    tuned = command(*words)
    assert tuned.exit_code == 0, tuned.output
    assert "bits/token" in tuned.output
    shown = command("knn", "eval", token_model, "store", "--text", "corpus", "--k", "4", "--weight", "0.9")
    assert bits(shown.output, "with neighbours") < bits(shown.output, "model alone")
    (here / "strange.txt").write_text("how many smiths? Ω" * 60)
    assert command("knn", "build", token_model, "other", "--text", "strange.txt").exit_code == 0  # bytes know all


def test_a_second_text_joins(command: Run, model: str, here: Path) -> None:
    (here / "second.txt").write_text("some smiths smile! " * 100)
    refused = command("knn", "build", model, "second", "--text", "second.txt")
    assert refused.exit_code == 2
    assert "does not know the characters ['!']" in refused.output or "does not know the characters" in refused.output
    for folder, text in {"first": "words.txt", "second": "second.txt"}.items():
        done = command("knn", "build", model, folder, "--text", text, "--drop-unknown", "--split", "all")
        assert done.exit_code == 0, done.output
    words = ["--text", "second.txt", "--drop-unknown", "--k", "4", "--weight", "0.9"]
    alone, joined = (command("knn", "eval", model, *s, *words) for s in (["first"], ["first", "second"]))
    assert bits(joined.output, "with neighbours") < bits(alone.output, "with neighbours")


def test_ctrl_c_says_how_to_go_on(command: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(formers.retrieval, "build_datastore", interrupted)
    stopped = command("knn", "build", model, "store", "--text", "words.txt")
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.output


def test_errors_say_what_to_do(command: Run, model: str, here: Path) -> None:
    for words, error in [
        (["build", model, "store", "--text", "words.txt", "--split", "training"], "did you mean"),
        (["build", model, "store", "--text", "words.txt", "--key", "ffn"], "did you mean"),
        (["eval", model, "nowhere", "--text", "words.txt"], "make one with: formers knn build"),
        (["eval", model, "nowhere", "--text", "words.txt", "--length", "1"], "predicts nothing"),
    ]:
        result = command("knn", *words)
        assert result.exit_code == 2, result.output
        assert error in result.output
    helped = command("knn", "--help")
    assert "formers knn tune my-model store" in helped.output
