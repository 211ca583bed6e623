from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from formers.machine import environment, memory


def test_everything_a_number_depends_on() -> None:
    facts = environment.environment("cpu")
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == str(torch.get_num_threads())
    assert all(isinstance(value, str) and value for value in facts.values())
    assert environment.installed_version("no-such-package") == "not installed"


def test_the_commit_is_the_librarys_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    other = tmp_path / "site-packages" / "environment.py"
    other.parent.mkdir()
    other.touch()
    environment.git_commit.cache_clear()
    monkeypatch.setattr(environment, "__file__", str(other))
    assert environment.git_commit() == ""
    environment.git_commit.cache_clear()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a peak that can be forgotten")
def test_the_peak_is_of_what_happened_since() -> None:
    assert memory.reset_peak("cpu")
    torch.ones(50_000_000).sum()
    high = memory.peak_bytes("cpu")
    assert high is not None
    assert memory.reset_peak("cpu")
    low = memory.peak_bytes("cpu")
    assert low is not None
    assert high - low > 100_000_000
