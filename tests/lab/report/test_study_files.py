"""The files in the folder of a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from formers.bench.json_file import dump
from formers.bench.results import BenchResults, Measurement
from formers.lab.report import render_html
from formers.lab.report.study_files import bench_figures
from formers.lab.store.records import Results, Row, TaskMetric

SIZES = {"length": 256, "width": 64, "heads": 2, "batch": 1}


def bench() -> BenchResults:
    """Softmax quadratic, linear linear: they cost the same at 700 tokens."""
    times = {"softmax": lambda n: 1e-8 * n**2, "linear": lambda n: 7e-6 * n}
    rows = tuple(
        Measurement(
            subject=name,
            kind="mixer",
            status="measured",
            phase="forward",
            **{**SIZES, "length": length},
            seconds=tuple(time(length) * slow for slow in (1.0, 1.02, 0.97)),
            yardstick=(0.01, 0.0102, 0.0097),
        )
        for name, time in times.items()
        for length in (256, 512, 1024, 2048)
    )
    return BenchResults(axis="length", reference="softmax", causal=True, rounds=3, product_flops=1e9, rows=rows)


def test_a_study_shows_the_bench_in_its_folder(tmp_path: Path) -> None:
    rows = (Row(arm="softmax", seed=0, status="finished", metrics={"loss": 1.0}),)
    metric = TaskMetric(name="loss", label="loss", unit="", lower_is_better=True)
    results = Results(title="a study", description="", metric=metric, rows=rows)
    without = render_html(results, bench_figures(tmp_path))
    dump(bench(), tmp_path / "bench.json")
    shown = render_html(results, bench_figures(tmp_path))
    assert "Cost against length" not in without
    for words in ("Cost against length", "Forward", "from 700 (700–700)", 'class="chart scaling"'):
        assert words in shown
    (tmp_path / "bench.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bench.json: this is not a bench"):
        bench_figures(tmp_path)
