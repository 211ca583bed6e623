from __future__ import annotations

import pytest

from formers.lab.executors.worker import describe_exit


@pytest.mark.parametrize(("code", "words"), [(1, "exit code 1"), (-9, "memory runs out"), (-11, "SIGSEGV")])
def test_how_a_process_ended(code: int, words: str) -> None:
    assert words in describe_exit(code)
