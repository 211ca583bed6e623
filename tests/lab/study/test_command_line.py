from __future__ import annotations

import pytest

from formers.lab.study.command_line import launch_command


def test_the_command_that_starts_as_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch_command() == ["formers"]
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert launch_command() == ["torchrun", "--nproc-per-node", "8", "-m", "formers"]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert launch_command() == ["torchrun", "--nnodes", "2", "--nproc-per-node", "4", "-m", "formers"]
