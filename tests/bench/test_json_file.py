"""Results as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from formers.bench.json_file import dump, from_json, load, to_json
from formers.bench.measuring.run_bench import run_bench
from formers.bench.plan import BenchPlan


@pytest.mark.usefixtures("lawful")
def test_json_reads_back_equal(small: Callable[..., BenchPlan], tmp_path: Path) -> None:
    bench = run_bench(small("identity", "fourier", "pool", phases=("forward", "step")))
    assert from_json(to_json(bench)) == bench
    assert load(dump(bench, tmp_path / "a" / "bench.json")) == bench


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{"subject": 1}]}'])
def test_another_file_is_not_a_bench(text: str) -> None:
    with pytest.raises(ValueError, match="not a bench"):
        from_json(text)
