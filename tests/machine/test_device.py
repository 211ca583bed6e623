"""The device that something runs on is chosen in one place, and numbers name the one that they were computed on."""

from __future__ import annotations

import pytest
import torch

from formers.machine.device import choose_device, device_name, processor_name
from formers.machine.environment import environment


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "H9000")


@pytest.mark.usefixtures("with_gpu")
def test_where_there_is_a_gpu_what_ran_on_the_processor_says_so() -> None:
    assert [choose_device(asked) for asked in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
    assert device_name("auto") == device_name("cuda") == device_name(torch.device("cuda", 1)) == "H9000"
    assert environment(torch.device("cpu"))["device"] == f"cpu ({processor_name()})"


def test_without_a_gpu_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    assert device_name("auto") == f"cpu ({processor_name()})"
    with pytest.raises(ValueError, match="torch sees no GPU here; use cpu, or auto"):
        choose_device("cuda")
    with pytest.raises(ValueError, match="auto, cpu or cuda, but 'gpu' was given"):
        choose_device("gpu")
