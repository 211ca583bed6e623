from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
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


@pytest.mark.parametrize("here", [1, 2, 3])
def test_states_of_gpus_that_are_there(here: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that began where two GPUs were in sight goes on with one, or three: with generators in their place."""
    made = [torch.Generator().manual_seed(seed) for seed in range(here)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda.random, "_lazy_call", lambda call, **options: call())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: here)
    monkeypatch.setattr(torch.cuda, "default_generators", tuple(made))
    kept = [torch.Generator().manual_seed(seed).get_state() for seed in (10, 11)]
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: kept)
    set_random_states(random_states())
    seeds = [generator.initial_seed() for generator in made]
    assert seeds == [10, 11, 2][:here]
