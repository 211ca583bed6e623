"""The example of staged training runs, small, and shows what it says."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "examples" / "staged_longformer.py"


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("staged_longformer", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "staged_longformer", module)
    spec.loader.exec_module(module)
    return module


def test_staged_training(staged: Any, capsys: pytest.CaptureFixture[str]) -> None:
    done = staged.run(staged.Phase(length=32, window=4, rate=4e-3, steps=12), phases=3)
    phases = [phase for phase, _, _ in done]
    assert [phase.length for phase in phases] == [32, 64, 128]
    assert [phase.window for phase in phases] == [4, 8, 16]
    assert [phase.rate for phase in phases] == [4e-3, 2e-3, 1e-3]
    windows = [[layer.mixer.patterns[0].width for layer in model.model.layers] for _, model, _ in done]
    assert windows == [[2, 2, 4, 4], [4, 4, 8, 8], [8, 8, 16, 16]]
    (_, _, first), (_, _, second), (_, _, third) = done
    assert abs(first[0] - math.log(65)) < 0.5, "starts from nothing"
    assert max(second[0], third[0]) < first[0] - 0.3, "goes on from the phase before"
    assert third[-1] < first[0] - 0.7
    assert len(capsys.readouterr().out.splitlines()) == 3
