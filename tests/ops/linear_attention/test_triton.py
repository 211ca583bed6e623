"""The Triton form of linear attention, by Triton's interpreter: see `interpreted.py`, which runs the checks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from formers.ops import forms_table


@pytest.mark.parametrize(("which", "count"), [("often", 23), pytest.param("all", 37, marks=pytest.mark.slow)])
def test_by_the_interpreter(which: str, count: int) -> None:
    pytest.importorskip("triton")
    script = Path(__file__).with_name("interpreted.py")
    run = subprocess.run([sys.executable, str(script), which], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout.splitlines()[-1])
    assert {name: message for name, message in results["wrong"].items() if message} == {}
    assert len(results["wrong"]) == count


@pytest.mark.slow
@pytest.mark.parametrize(("capability", "shared"), [("80", 163 * 1024), ("90", 227 * 1024)])
def test_compiles_for_gpus_that_are_not_here(capability: str, shared: int) -> None:
    pytest.importorskip("triton")
    script = Path(__file__).with_name("compiled.py")
    run = subprocess.run([sys.executable, str(script), capability], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    sizes = json.loads(run.stdout.splitlines()[-1])
    assert len(sizes) > 20
    assert max(sizes.values()) <= shared  # bytes that a program of such a GPU may take


def test_a_gpu_runs_it_first() -> None:
    order = {(entry.op, entry.form): entry.order for entry in forms_table()}
    assert order["linear_attention", "triton"] == order["dense_attention", "triton"] == {"cuda": 1}
