"""The files of a benchmark: bench.json, bench.csv and bench.html in one folder."""

from __future__ import annotations

from pathlib import Path

from formers.bench.csv_text import to_csv
from formers.bench.html import write_html
from formers.bench.json_file import NAME, dump
from formers.bench.results import BenchResults
from formers.machine.files import write_atomically


def write_files(results: BenchResults, folder: Path) -> list[Path]:
    """Write bench.json, bench.csv and bench.html into `folder`, the data first; return their paths."""
    return [
        dump(results, folder / NAME),
        write_atomically(folder / "bench.csv", to_csv(results)),
        write_html(results, folder / "bench.html"),
    ]
