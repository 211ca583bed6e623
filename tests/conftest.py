"""What tests of every room share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).with_name("forked")))
from forked_python import ForkedPython


@pytest.fixture(scope="session")
def python() -> Iterator[ForkedPython]:
    """Starts processes of Python that share one import of torch, transformers and MLflow.

    Where the start of a process is what is tested, `subprocess` starts it.
    """
    started = ForkedPython()
    yield started
    started.close()
