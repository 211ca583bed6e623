"""The Triton form of linear attention, by Triton's interpreter: see `interpreted.py`, which runs the checks."""

from __future__ import annotations

import pytest

from formers.ops import forms_table


@pytest.mark.parametrize(("which", "count"), [("often", 25), pytest.param("all", 39, marks=pytest.mark.slow)])
def test_by_the_interpreter(which: str, count: int, kernel_script) -> None:
    results = kernel_script("interpreted.py", which)
    assert {name: message for name, message in results["wrong"].items() if message} == {}
    assert len(results["wrong"]) == count


def test_a_gpu_runs_it_first() -> None:
    order = {(entry.op, entry.form): entry.order for entry in forms_table()}
    assert order["linear_attention", "triton"] == order["dense_attention", "triton"] == {"cuda": 1}
