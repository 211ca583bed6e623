from __future__ import annotations

from pathlib import Path

import pytest
import torch

from formers.lab.train.state_file import load_state, save_state


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
