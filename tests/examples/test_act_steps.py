"""The example reads the steps of a study's models, and those alone whose tokens decide."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from formers import TokenClassifier
from formers.tasks import Sort

spec = importlib.util.spec_from_file_location("act_steps", Path(__file__).parents[2] / "examples" / "act_steps.py")
assert spec is not None
assert spec.loader is not None
act_steps = importlib.util.module_from_spec(spec)
sys.modules["act_steps"] = act_steps
spec.loader.exec_module(act_steps)


def test_steps_are_read_from_the_models_of_a_study(tmp_path: Path) -> None:
    task = Sort(length=6)
    base = task.base().swap(depth=3, position="none", width=16)
    for name, computation in (("decides", "act(bias=10.0)"), ("all", "universal()")):
        TokenClassifier(base.swap(computation=computation)).save_pretrained(tmp_path / name)
    (learnt,) = act_steps.study(tmp_path, task)
    assert (learnt.name, learnt.most, learnt.shares) == ("decides", 3, [1.0, 0.0, 0.0])
    assert learnt.by_place == [1.0] * 6
    with pytest.raises(ValueError, match="decides how many steps a token takes"):
        act_steps.study(tmp_path / "all", task)
