"""A short campaign with every test run, so that it does not rot; the long one where slow tests are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def campaign(*words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "campaign", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_short_campaign_runs() -> None:
    done = campaign("--cases", "250", "--kills", "0", "--operations", "1")
    assert done.stderr == ""
    assert "| all | 2" in done.stdout
    assert "1 kills, 0 with a difference" in done.stdout


def test_a_case_can_be_made_again() -> None:
    done = campaign("--way", "part texts", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_long_campaign_finds_nothing() -> None:
    done = campaign("--cases", "12000", "--kills", "100")
    assert done.returncode == 0, done.stdout + done.stderr
