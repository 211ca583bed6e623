"""A short campaign with every test run, so that it does not rot; the long one where slow tests are asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Campaign = Callable[..., Any]
TESTS = Path(__file__).parents[1]
SECONDS = 20
"""Of the processor, for the short campaign."""


@pytest.fixture
def campaign(python: Any) -> Campaign:
    """Runs `python -m campaign`."""

    def run(*words: str, timeout: float = 600) -> Any:
        paths = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        return python.run("-m", "campaign", *words, env=environment, timeout=timeout)

    return run


def test_a_short_campaign_finds_nothing(campaign: Campaign) -> None:
    done = campaign("--cases", "250", "--kills", "0", "--operations", "1")
    assert done.returncode == 0, done.out + done.err
    assert done.err == ""
    [counts] = re.findall(r"^\| all \| (2\d\d) \|.*\| 0 \| 0 \| 0 \|$", done.out, re.MULTILINE)
    assert int(counts) >= 250
    assert "1 kills, 0 with a difference" in done.out
    assert done.seconds <= SECONDS


def test_a_campaign_whose_time_is_over_says_what_it_left_out(campaign: Campaign) -> None:
    done = campaign("--cases", "250", "--kills", "7", "--operations", "2", "--minutes", "0")
    assert done.returncode == 0, done.out + done.err
    assert "cut short: without 265 of 265 cases, kills before 2 of 2 file operations and 7 kills" in done.out


@pytest.mark.slow
def test_a_case_can_be_made_again(campaign: Campaign) -> None:
    done = campaign("--way", "part texts", "--seed", "3")
    assert done.returncode == 0, done.out + done.err


@pytest.mark.slow
def test_a_long_campaign_finds_nothing(campaign: Campaign) -> None:
    done = campaign("--cases", "12000", "--kills", "100", timeout=7200)
    assert done.returncode == 0, done.out + done.err
