from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from formers.lab.train.state_file import load_state, save_state
from formers.lab.train.trainer import random_states, set_random_states


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    tree = {
        "state": {0: {"step": torch.tensor(3.0), "average": torch.randn(2, 3).T}, 1: {}},
        "groups": [{"betas": (0.9, 0.999), "lr": 0.1 + 0.2, "fused": None, "params": [0, 1]}],
        "half": torch.randn(3).bfloat16(),
        "text": "α",
    }
    save_state(tmp_path / "x.safetensors", tree)
    found = load_state(tmp_path / "x.safetensors")
    assert found["groups"] == tree["groups"]
    assert isinstance(found["groups"][0]["betas"], tuple)
    assert list(found["state"]) == [0, 1]
    assert found["state"][0]["average"].equal(tree["state"][0]["average"])
    assert found["half"].equal(tree["half"])
    assert found["half"].dtype == torch.bfloat16
    assert found["text"] == "α"


def test_a_tree_without_tensors(tmp_path: Path) -> None:
    save_state(tmp_path / "x.safetensors", {"a": [1, 2]})
    assert load_state(tmp_path / "x.safetensors") == {"a": [1, 2]}


def test_what_has_no_text_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a complex cannot be kept"):
        save_state(tmp_path / "x.safetensors", {"root": 1j})


def test_random_states_come_back_through_a_file(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float, float]:
        return random.random(), random.gauss(0, 1), float(np.random.standard_normal()), torch.rand(()).item()

    draw()  # both normal draws leave a second value behind, which is part of the state
    save_state(tmp_path / "x.safetensors", random_states())
    expected = [draw() for _ in range(3)]
    set_random_states(load_state(tmp_path / "x.safetensors"))
    assert [draw() for _ in range(3)] == expected
