from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from formers.tasks.control.recordings import DATA, FACTS, load_recording, save_recording


@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
def test_a_recording_reads_back_as_it_was(made: Any, tmp_path: Path, discrete: bool) -> None:
    before = made(discrete)
    after = load_recording(save_recording(before, tmp_path / "new" / "folder"))
    assert (after.spaces, after.policies, after.zero, after.hundred) == (
        *(before.spaces, before.policies),
        *(before.zero, before.hundred),
    )
    for name in ("states", "actions", "rewards", "lengths"):
        kept, given = getattr(after, name), getattr(before, name)
        assert kept.dtype == given.dtype
        np.testing.assert_array_equal(kept, given)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [FACTS, DATA]


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no trajectories\.safetensors"):
        load_recording(tmp_path)


def test_one_that_was_broken_off(made: Any, tmp_path: Path) -> None:
    (save_recording(made(), tmp_path) / FACTS).unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no trajectories\.json"):
        load_recording(tmp_path)


@pytest.mark.parametrize("cut", [0, 8, 100, -1])
def test_data_cut_short(made: Any, tmp_path: Path, cut: int) -> None:
    path = save_recording(made(), tmp_path) / DATA
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"trajectories\.safetensors is not what was recorded"):
        load_recording(tmp_path)


def test_a_changed_byte(made: Any, tmp_path: Path) -> None:
    path = save_recording(made(), tmp_path) / DATA
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is not what was recorded"):
        load_recording(tmp_path)


FACTS_WRONG: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "is not JSON that can be read"),
    "a list": ("[]", "must hold a mapping"),
    "another format": ({"format": 2}, "is in format 2, and this version reads format 1"),
    "no scale": ({"zero": None}, "zero must be there and a float"),
    "an infinite scale": ({"zero": float("inf")}, "must be finite"),
    "policies": ({"policies": [1]}, "policies must be names"),
    "too few policies": ({"policies": ["low"]}, "cannot be read"),
    "spaces": ({"spaces": {"name": "x"}}, "spaces must hold action_size"),
    "a size": ({"spaces": {"state_size": 3}}, r"\(9, 3\) was expected"),
    "a text for a size": ({"spaces": {"state_size": "2"}}, "whole numbers"),
}


@pytest.mark.parametrize(("change", "message"), FACTS_WRONG.values(), ids=FACTS_WRONG)
def test_facts_that_are_wrong(made: Any, tmp_path: Path, change: Any, message: str) -> None:
    path = save_recording(made(), tmp_path) / FACTS
    facts = json.loads(path.read_text())
    if isinstance(change, dict):
        if isinstance(change.get("spaces"), dict) and "name" not in change["spaces"]:
            change = {"spaces": facts["spaces"] | change["spaces"]}
        change = json.dumps(facts | change)
    path.write_text(change)
    with pytest.raises(ValueError, match=message) as caught:
        load_recording(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, "must hold rewards in float32"),
        ({"rewards": np.zeros(9)}, "must hold rewards in float32"),
        ({"policies": np.array([0, 0, 9])}, "cannot be read"),
        ({"policies": np.array([0, 0, -1])}, "2 names of policies for 3 trajectories"),
        ({"lengths": np.zeros(0, np.int64), "policies": np.zeros(0, np.int64)}, "there are no trajectories"),
    ],
)
def test_arrays_that_are_wrong_though_their_hash_is_right(
    made: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    save_recording(made(), tmp_path)
    arrays = load_file(tmp_path / DATA) | change
    save_file({name: array for name, array in arrays.items() if array is not None}, tmp_path / DATA)
    facts = json.loads((tmp_path / FACTS).read_text())
    facts["sha256"] = hashlib.sha256((tmp_path / DATA).read_bytes()).hexdigest()
    (tmp_path / FACTS).write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=message):
        load_recording(tmp_path)
