"""The results of a benchmark as JSON that reads back equal."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from formers.bench.phases import PHASES
from formers.bench.results import BenchResults
from formers.bench.sizes import AXES
from formers.machine.files import write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.machine.typed_json import record_from_json

NAME = "bench.json"


def to_json(results: BenchResults) -> str:
    """Return everything as strict JSON."""
    return json.dumps(sealed(asdict(results)), indent=1, allow_nan=False)


def from_json(text: str) -> BenchResults:
    """Return the results that `to_json` wrote. Raise ValueError for a text that is something else."""
    try:
        results = record_from_json(BenchResults, unsealed(json_from_text(text)))
        _check_measurements(results)
    except ValueError as error:
        raise ValueError(f"this is not a bench: {error}") from None
    return results


def _check_measurements(results: BenchResults) -> None:
    """Raise ValueError for measurements from which nothing can be drawn: without a size, a phase or a yardstick."""
    if results.axis not in AXES:
        raise ValueError(f"its axis must be one of {', '.join(AXES)}")
    for number, row in enumerate(results.rows):
        sizes = [getattr(row, axis) for axis in AXES]
        if row.phase not in ("", *PHASES) or not all(size is None or size >= 1 for size in sizes):
            raise ValueError(f"rows[{number}] has no phase of {', '.join(PHASES)}, or a size below 1")
        if row.seconds and (row.phase == "" or None in sizes or len(row.seconds) != len(row.yardstick)):
            raise ValueError(f"rows[{number}] has times, but not the phase, sizes and yardstick that they belong to")
        if not all(0 < time < math.inf for time in (*row.seconds, *row.yardstick)):
            raise ValueError(f"rows[{number}] has a time that is not positive")


def load(path: Path) -> BenchResults:
    """Return the results that `dump` wrote. Raise ValueError with the path for a file that is something else."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; move it away, or measure again with formers bench") from None


def dump(results: BenchResults, path: Path) -> Path:
    """Write `to_json(results)` to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, to_json(results) + "\n")
