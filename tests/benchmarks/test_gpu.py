"""The benchmark for GPUs: its cases work, at toy sizes on a CPU, and no arm that hangs or fails loses the others."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.gpu.__main__ import cases, run_case, write  # noqa: E402
from benchmarks.gpu.bench import Bench  # noqa: E402
from benchmarks.gpu.targets import TARGETS  # noqa: E402
from benchmarks.gpu.watch import watch  # noqa: E402
from benchmarks.harness import Row, table  # noqa: E402
from benchmarks.report import Results  # noqa: E402

QUICK = ("linear", "metric")


@pytest.mark.parametrize("name", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in cases()])
def test_every_case_works(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    run_case(name, Bench("cpu", toy=True))
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("[")]
    assert [line for line in lines if line[0] == "failed"] == []
    rows = [json.loads(line[1]) for line in lines if line[0] == "row"]
    assert rows
    if name not in ("tiles", "buckets", "fourier"):  # which have no targets
        assert any((row["case"], row["setting"]) in TARGETS for row in rows)


CASE = """
import json, sys, time
sys.path.insert(0, {root!r})
from benchmarks.gpu.bench import Bench
bench = Bench("cpu", True, json.loads(sys.argv[sys.argv.index("--known") + 1]))
one = bench.arm("one", lambda: [1.0])
bench.arm("fails", lambda: 1 / 0)
bench.arm("hangs", lambda: time.sleep(60))
two = bench.arm("two", lambda: [2.0])
bench.row("two", "L=1", two[0], one[0])
"""


@pytest.mark.slow
def test_an_arm_that_hangs_is_left_out() -> None:
    command = [sys.executable, "-c", CASE.format(root=str(ROOT))]
    found = watch(command, seconds_an_arm=3, until=time.monotonic() + 500)
    assert [(row.measured, row.peer) for row in found.rows] == [(2.0, 1.0)]
    assert found.trouble == ["fails: ZeroDivisionError: division by zero", "hangs: no answer for 3 s"]


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    (case, setting), (peer, limit) = next(iter(TARGETS.items()))
    write(tmp_path / "gpu.json", [Row(case, setting, 1.0, 2.0, peer, limit)], {"device": "none"}, ["linear: failed"])
    text = Results.read(tmp_path / "gpu.json").section
    limits = sum(limit is not None for _, limit in TARGETS.values())
    assert f"1 of {limits} targets met, {limits - 1} not measured; device none." in text
    assert "Failed: linear: failed." in text
    assert "| not measured |" in table([Row("a", "b", None, None, "c", 1.0)])


def test_without_a_gpu_it_says_why_it_does_nothing(python: Any) -> None:
    run = python.run("-m", "benchmarks.gpu", cwd=ROOT)
    assert run.returncode == 0, run.err
    assert "Skipped: torch finds no CUDA device" in run.out
