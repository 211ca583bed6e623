"""`formers needle` on a model that was trained here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from formers.models import CausalLM, TransformerConfig
from formers.tasks.corpus.tokenizer_kinds import byte_tokenizer

Run = Callable[..., Result]


@pytest.fixture
def model(here: Path) -> Path:
    torch.manual_seed(0)
    config = TransformerConfig(vocab_size=257, width=16, depth=1, heads=2, context_length=32, mixer="linear")
    CausalLM(config).save_pretrained(here / "model")
    byte_tokenizer().save_pretrained(here / "model")
    return here / "model"


def test_a_table_a_heat_map_and_results(model: Path, command: Run) -> None:
    done = command("needle", "model", "--lengths", "400,500", "--depths", "2", "--each", "1", "--keys", "2")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines()]
    assert ["tokens", "0%", "100%", "mean"] in rows
    assert [row[0] for row in rows if row and row[-1] in ("0.00", "0.50", "1.00")] == ["400", "500"]
    stem = "needle-keys2-values1-hops0-lengths-400+500-depths2-each1"
    report = json.loads((model / f"evaluation/{stem}.json").read_text())
    assert (report["lengths"], report["depths"], report["each"]) == ([400, 500], [0.0, 1.0], 1)
    assert report["settings"]["hiding"] == {"keys": 2, "values": 1, "hops": 0}
    assert (model / f"evaluation/{stem}.png").read_bytes().startswith(b"\x89PNG")
    assert len([*(model / "evaluation").iterdir()]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lengths", "x"], "was given as lengths"),
        (["--lengths", "64"], "leave room for"),
        (["--text", "nowhere.txt"], "no text file at"),
        (["--mixer", "linear(feature=hedgehog)"], "was not trained with linear(feature=hedgehog)"),
    ],
)
def test_what_cannot_be_asked_is_said(model: Path, command: Run, words: list[str], said: str) -> None:
    done = command("needle", "model", *words)
    assert done.exit_code == 2, done.output
    assert said in done.output
