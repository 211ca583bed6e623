"""Results as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from formers.bench.json_file import dump, from_json, load, to_json
from formers.bench.measuring.run_bench import run_bench
from formers.bench.plan import BenchPlan
from formers.bench.results import BenchResults, Measurement


@pytest.mark.usefixtures("lawful")
def test_json_reads_back_equal(small: Callable[..., BenchPlan], tmp_path: Path) -> None:
    bench = run_bench(small("identity", "fourier", "pool", phases=("forward", "step")))
    assert from_json(to_json(bench)) == bench
    assert load(dump(bench, tmp_path / "a" / "bench.json")) == bench


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{"subject": 1}]}'])
def test_another_file_is_not_a_bench(text: str) -> None:
    with pytest.raises(ValueError, match="not a bench"):
        from_json(text)


@pytest.mark.parametrize(
    "change",
    [{"phase": "sideways"}, {"length": 0}, {"length": None}, {"yardstick": (0.1,)}, {"seconds": (0.0, 0.1)}],
)
def test_measurements_without_what_they_belong_to_are_named(change: dict[str, Any]) -> None:
    row = Measurement(subject="softmax", kind="mixer", status="measured", phase="forward", length=8, width=8, heads=1)
    row = replace(row, **{"batch": 1, "seconds": (0.1, 0.2), "yardstick": (0.1, 0.1)} | change)
    bench = BenchResults(axis="length", reference="softmax", causal=True, rounds=2, product_flops=1.0, rows=(row,))
    with pytest.raises(ValueError, match=r"not a bench: rows\[0\] has"):
        from_json(to_json(bench))
