"""What tests of every room share."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).with_name("forked")))
from forked_python import ForkedPython

# A busy machine is no fault: nothing that hypothesis draws is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

NOTHING_SKIPPED = os.environ.get("FORMERS_NOTHING_SKIPPED") == "true"
"""Where everything is that a test may need, but a GPU, one that skips itself fails: set by continuous integration."""


@pytest.fixture(scope="session")
def python() -> Iterator[ForkedPython]:
    """Starts processes of Python that share one import of torch, transformers and MLflow.

    Where the start of a process is what is tested, `subprocess` starts it.
    """
    started = ForkedPython()
    yield started
    started.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return failed_if_skipped((yield)) if item.get_closest_marker("gpu") is None else (yield)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return failed_if_skipped((yield))


def failed_if_skipped(report: Any) -> Any:
    if report.skipped and NOTHING_SKIPPED and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped where nothing should be: {report.longrepr}"
    return report
