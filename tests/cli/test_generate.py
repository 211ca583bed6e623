"""`formers generate` writes with a whole model only: each kind of damage is an error that names the folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from formers.models import CausalLM, SequenceClassifier, TransformerConfig
from formers.tasks.characters import Characters

CONFIG = {"vocab_size": 4, "width": 16, "depth": 1, "heads": 2, "context_length": 32, "mixer": "linear"}


@pytest.fixture
def folder(here: Path) -> Path:
    """A model of four characters, without a line break."""
    torch.manual_seed(0)
    CausalLM(TransformerConfig(**CONFIG)).save_pretrained(here / "model")
    Characters("abcd").save(here / "model")
    return here / "model"


def cut(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the weights, keep the file."""

    def run(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return run


def reconfigure(**changes: Any) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return run


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


def other_head(folder: Path) -> None:
    SequenceClassifier(TransformerConfig(**CONFIG)).save_pretrained(folder)


NORM, PROJECTION = "model.norm.weight", "model.layers.0.mixer.q_proj.weight"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "half a file": (lambda folder: cut(folder, 0.5), "damaged or cut short"),
    "most of a file": (lambda folder: cut(folder, 0.99), "damaged or cut short"),
    "an empty file": (lambda folder: cut(folder, 0), "damaged or cut short"),
    "a file of zeros": (write("model.safetensors", bytes(5000)), "damaged or cut short"),
    "no file": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors"),
    "another shape": (
        edit(lambda weights: weights.update({NORM: torch.ones(9)})),
        f"{NORM} has the shape (9,) instead of (16,)",
    ),
    "another dimension": (edit(lambda weights: weights.update({PROJECTION: torch.ones(256)})), PROJECTION),
    "no weights": (edit(dict.clear), "and 12 more weights are missing"),
    "a missing weight": (edit(lambda weights: weights.pop(NORM)), f"{NORM} is missing"),
    "a weight too many": (
        edit(lambda weights: weights.update({"model.other.weight": torch.ones(9)})),
        "model.other.weight is there without a place",
    ),
    "NaN": (edit(lambda weights: weights[NORM].fill_(torch.nan)), f"{NORM} is not finite"),
    "one infinity": (edit(lambda weights: weights[NORM][3:4].fill_(torch.inf)), f"{NORM} is not finite"),
    "deeper": (reconfigure(depth=2), "missing"),
    "wider": (reconfigure(width=32), "instead of"),
    "another mixer": (reconfigure(mixer="lsh"), "without a place"),
    "another head": (other_head, "CausalLM needs causal=True"),
    "a mixer that is none": (reconfigure(mixer="lineal"), "config.json"),
    "an option that is none": (reconfigure(widht=3), "config.json"),
    "a size that is none": (reconfigure(width="wide"), "config.json"),
    "no configuration": (write("config.json", b"{"), "config.json"),
    "a list for a configuration": (write("config.json", b"[]"), "config.json"),
    "a binary configuration": (write("config.json", b"\xff\xfe\0"), "config.json"),
    "another model's configuration": (write("config.json", b'{"model_type": "bert", "hidden_size": 16}'), "bert"),
    "no alphabet": (lambda folder: (folder / "characters.json").unlink(), "has no characters.json"),
    "a cut alphabet": (write("characters.json", b'{"alpha'), "no JSON"),
    "an alphabet under another name": (write("characters.json", b'{"alphabets": "abcd"}'), "characters.json"),
    "an alphabet that is none": (write("characters.json", b'{"alphabet": 4}'), "characters.json"),
    "a list for an alphabet": (write("characters.json", b'["abcd"]'), "characters.json"),
    "a character twice": (write("characters.json", b'{"alphabet": "abca"}'), "characters.json"),
    "a shorter alphabet": (write("characters.json", b'{"alphabet": "abc"}'), "holds 3 characters"),
    "a longer alphabet": (write("characters.json", b'{"alphabet": "abcde"}'), "trained on 4"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_model_writes_nothing(kind: str, folder: Path, command: Any) -> None:
    damage, message = DAMAGE[kind]
    damage(folder)
    result = command("generate", "model", "--tokens", "5")
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert re.search(r"(formers: model|of model|model/|directory model)\b", result.output), "it names the folder"
    assert "should not happen" not in result.output


def test_a_text_without_line_breaks_starts_with_its_first_character(folder: Path, command: Any) -> None:
    result = command("generate", "model", "--tokens", "5")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("a")
    assert len(result.stdout) == 1 + 5 + 1


def test_an_empty_prompt_is_refused(folder: Path, command: Any) -> None:
    result = command("generate", "model", "--prompt", "")
    assert result.exit_code == 2
    assert "the prompt is empty" in result.output


def test_a_text_longer_than_the_model_was_built_for_is_told_of(folder: Path, command: Any) -> None:
    fitting = command("generate", "model", "--tokens", "31")
    assert fitting.exit_code == 0, fitting.output
    assert fitting.stderr == ""
    longer = command("generate", "model", "--tokens", "32")
    assert longer.exit_code == 0, longer.output
    assert longer.stderr.count("\n") == 1
    assert "the text has 33 characters, and the model was built for 32" in longer.stderr


def test_a_memory_that_is_carried_knows_no_end(here: Path, command: Any) -> None:
    CausalLM(TransformerConfig(**CONFIG | {"mixer": "softmax", "memory": "recurrent(length=8)"})).save_pretrained(
        here / "model"
    )
    Characters("abcd").save(here / "model")
    result = command("generate", "model", "--tokens", "40")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
