from __future__ import annotations

import os

import pytest
import torch

from formers.lab.executors.process_environment import changed_environment, gpu_of_worker


def test_an_environment_is_given_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with changed_environment({"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "1"}):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("2", "1")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_workers_take_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_of_worker(0) == {} or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [gpu_of_worker(seat)["CUDA_VISIBLE_DEVICES"] for seat in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")
    assert [gpu_of_worker(seat)["CUDA_VISIBLE_DEVICES"] for seat in range(3)] == ["5", "GPU-7", "5"]
