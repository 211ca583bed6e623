"""The results of a benchmark as JSON that reads back equal."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from formers.bench.results import BenchResults, Measurement
from formers.machine.files import write_atomically

NAME = "bench.json"


def to_json(results: BenchResults) -> str:
    """Return everything as strict JSON."""
    return json.dumps(asdict(results), indent=1, allow_nan=False)


def from_json(text: str) -> BenchResults:
    """Return the results that `to_json` wrote. Raise ValueError for a text that is something else."""
    try:
        data = json.loads(text)
        rows = [{**row, "seconds": tuple(row["seconds"]), "yardstick": tuple(row["yardstick"])} for row in data["rows"]]
        return BenchResults(**{**data, "rows": tuple(Measurement(**row) for row in rows)})
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"this is not a bench: {type(error).__name__}: {error}") from None


def load(path: Path) -> BenchResults:
    """Return the results that `dump` wrote. Raise ValueError with the path for a file that is something else."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; move it away, or measure again with formers bench") from None


def dump(results: BenchResults, path: Path) -> Path:
    """Write `to_json(results)` to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, to_json(results) + "\n")
