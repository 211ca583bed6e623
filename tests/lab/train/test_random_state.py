from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from formers.lab.train.random_state import random_states, set_random_states
from formers.lab.train.state_file import load_state, save_state


def test_random_states_come_back_through_a_file(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float, float]:
        return random.random(), random.gauss(0, 1), float(np.random.standard_normal()), torch.rand(()).item()

    draw()  # both normal draws leave a second value behind, which is part of the state
    save_state(tmp_path / "x.safetensors", random_states())
    expected = [draw() for _ in range(3)]
    set_random_states(load_state(tmp_path / "x.safetensors"))
    assert [draw() for _ in range(3)] == expected
