"""The results of a benchmark as JSON that reads back equal."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from formers.bench.results import BenchResults
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
        return record_from_json(BenchResults, unsealed(json_from_text(text)))
    except ValueError as error:
        raise ValueError(f"this is not a bench: {error}") from None


def load(path: Path) -> BenchResults:
    """Return the results that `dump` wrote. Raise ValueError with the path for a file that is something else."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; move it away, or measure again with formers bench") from None


def dump(results: BenchResults, path: Path) -> Path:
    """Write `to_json(results)` to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, to_json(results) + "\n")
