"""The picture of learned spans, of two small models that are saved."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from formers import CausalLM, TransformerConfig
from formers.mixers import AdaptiveSpan, Softmax

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield import_module("learned_spans")
    sys.modules.pop("learned_spans", None)


def test_learned_spans(module: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"vocab_size": 9, "width": 8, "depth": 2, "heads": 2, "context_length": 16}
    for name, mixer in {"spans": AdaptiveSpan(init=0.25), "none": Softmax()}.items():
        CausalLM(TransformerConfig(mixer=mixer, **sizes)).save_pretrained(tmp_path / name)
    found = module.study([tmp_path / "spans", tmp_path / "none"])
    assert found == {"spans": [[4.0, 4.0], [4.0, 4.0]]}
    assert "none is left out" in capsys.readouterr().out
    module.draw(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
