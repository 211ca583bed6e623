"""The studies of approximations, small, and what they conclude."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PNG = b"\x89PNG"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield import_module
    for path in EXAMPLES.glob("*.py"):
        sys.modules.pop(path.stem, None)


def test_performer_error(example, tmp_path):
    module = example("performer_error")
    found = {size: module.study(features=(16, 64, 256), draws=12, length=128, size=size) for size in module.SIZES}
    flat, sharp = (
        {name: [e.quarters[1] for e in row.values()] for name, row in arms.items()} for arms in found.values()
    )
    for errors in flat.values():  # falls with the number of features
        assert errors[0] > 2 * errors[1] > 4 * errors[2]
    for kind in ("positive", "trigonometric"):  # orthogonal directions lower it
        assert flat[f"{kind}, orthogonal"][1] < 0.9 * flat[f"{kind}, independent"][1]
    assert sharp["trigonometric, orthogonal"][1] > 100 * sharp["positive, orthogonal"][1]
    assert max(sharp["positive, orthogonal"]) < 10
    module.draw(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)


def test_lsh_error(example, tmp_path):
    module = example("lsh_error")
    found = module.study(rounds=(1, 4, 16), length=256, chunk=32, draws=3)
    for errors in found.values():  # falls with the rounds
        assert errors[1] > 2 * errors[4] > 4 * errors[16]
    concentrated, *_, spread = found.values()
    assert concentrated[4] < spread[4] / 3
    module.draw(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)


def test_reformer_copy(example, tmp_path):
    """Learned with hashing, and read as well with more rounds and with full attention; an untrained model cannot
    copy."""
    module = example("reformer_copy")
    trained = module.train(2, half=8, steps=220)
    right = {name: module.accuracy(trained, rounds, half=8) for name, rounds in module.READ.items()}
    assert right["8 rounds"] > 0.95
    assert right["full"] > 0.9
    assert module.accuracy(module.model(2, 8), 2, half=8) < 0.2
    module.draw({"2 rounds": right}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)
