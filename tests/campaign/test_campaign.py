"""A short campaign with every test run, so that it does not rot; the long one where slow tests are asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest

TESTS = Path(__file__).parents[1]
SECONDS = 20
"""Of the processor, for the short campaign."""


def campaign(*words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "campaign", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_a_short_campaign_finds_nothing() -> None:
    before = getrusage(RUSAGE_CHILDREN)
    done = campaign("--cases", "250", "--kills", "0", "--operations", "1")
    after = getrusage(RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    [counts] = re.findall(r"^\| all \| (2\d\d) \|.*\| 0 \| 0 \| 0 \|$", done.stdout, re.MULTILINE)
    assert int(counts) >= 250
    assert "1 kills, 0 with a difference" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= SECONDS


def test_a_campaign_whose_time_is_over_says_what_it_left_out() -> None:
    done = campaign("--cases", "250", "--kills", "7", "--operations", "2", "--minutes", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cut short: without 265 of 265 cases, kills before 2 of 2 file operations and 7 kills" in done.stdout


@pytest.mark.slow
def test_a_case_can_be_made_again() -> None:
    done = campaign("--way", "part texts", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_long_campaign_finds_nothing() -> None:
    done = campaign("--cases", "12000", "--kills", "100")
    assert done.returncode == 0, done.stdout + done.stderr
