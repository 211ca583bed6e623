"""The study of far scores, small, and what it concludes."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield import_module("far_scores")
    sys.modules.pop("far_scores", None)


def test_far_scores(module: Any, tmp_path: Path) -> None:
    found, alone = module.study(), module.one_feature((0, 25, 50))
    for sizes in found.values():  # summed over features, all of them shrink
        assert sizes[0] == pytest.approx(1)
        assert 1 > sizes[1] > sizes[16] > sizes[64] > sizes[256] > sizes[1024]
    for x in (1, 16, 64, 256, 1024):
        assert found["cosine"][x] == pytest.approx(found["rotary"][x], abs=0.07)
    assert alone["rotary"][25] == pytest.approx(0, abs=1e-9)  # one feature of rotary vanishes, and no cosine's
    assert alone["cosine"][25] == pytest.approx(3**-0.5, abs=1e-3)
    module.draw(found, alone, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
