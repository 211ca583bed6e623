"""The files of a bench."""

from __future__ import annotations

from pathlib import Path

from formers.bench.export import CSV, HTML, JSON, dump, to_csv
from formers.bench.html import write_html
from formers.bench.record import Bench
from formers.machine.files import write_atomically


def publish(bench: Bench, folder: Path) -> list[Path]:
    """Writes bench.json, bench.csv and bench.html into a folder, the data first; returns their paths."""
    return [
        dump(bench, folder / JSON),
        write_atomically(folder / CSV, to_csv(bench)),
        write_html(bench, folder / HTML),
    ]
