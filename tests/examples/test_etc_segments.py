"""The example of ETC's labels: what it asks, and that it runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

FILE = Path(__file__).parents[2] / "examples" / "etc_segments.py"


@pytest.fixture
def example() -> Any:
    spec = importlib.util.spec_from_file_location("etc_segments", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_global_token_is_asked_for_the_letter_of_its_paragraph(example: Any) -> None:
    ids, labels = example.batch(5, torch.Generator().manual_seed(0))
    assert (ids[:, :8] == example.GLOBAL).all()
    assert (labels[:, 8:] == -100).all()
    paragraphs = ids[:, 8:].view(5, 8, 8)
    assert ((paragraphs < example.LETTERS).sum(-1) == 1).all()
    assert torch.equal(paragraphs.min(-1).values, labels[:, :8])


def test_it_runs(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = example.run(steps=2, seeds=1)
    assert found.keys() == example.PARTS.keys()
    assert all(0 <= share <= 1 for [share] in found.values())
    assert capsys.readouterr().out.count("\n") == 3
