"""The example on Hopper runs, small: what is recorded is trained on, and every arm acts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "examples" / "decision_transformer_hopper.py"
pytestmark = pytest.mark.slow


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("mujoco", reason="the extra mujoco")
    spec = importlib.util.spec_from_file_location("decision_transformer_hopper", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "decision_transformer_hopper", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:no picture of a rollout")
def test_hopper(hopper: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = hopper.recorded(tmp_path / "recording", {"random": 10, "medium": 3, "expert": 1})
    assert "expert" in capsys.readouterr().out
    results = hopper.train(recording, tmp_path, steps=4, episodes=1, seeds=1)
    assert [row.status for row in results.rows] == ["finished"] * 3, [row.cause for row in results.rows]
    hopper.show(results)
    assert capsys.readouterr().out.count("→") == 18
    policies = results.rows[0].config
    assert (policies["state_size"], policies["action_size"], policies["discrete_actions"]) == (11, 3, False)
