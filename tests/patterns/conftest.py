"""The patterns that tests go through, as a parameter."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("known_patterns", Path(__file__).parent / "known.py")
known = importlib.util.module_from_spec(spec)
spec.loader.exec_module(known)


@pytest.fixture(params=known.PATTERNS, ids=str)
def pattern(request):
    return request.param
