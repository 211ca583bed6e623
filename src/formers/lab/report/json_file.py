"""The results of a study as JSON that reads back exactly."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from formers.lab.report.matching import inequalities
from formers.lab.report.summarize import summarize
from formers.lab.store.records import Results
from formers.machine.files import write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.machine.typed_json import record_from_json

_UNEQUAL = "unequal"


def to_json(results: Results) -> str:
    """Return everything as strict JSON: numbers that JSON lacks become "NaN", "Infinity" and "-Infinity".

    `unequal` lists every reason why the arms were not given the same, so that nobody ranks them without knowing.
    `sha256` is that of all the rest.
    """
    data = _encode(asdict(results)) | {_UNEQUAL: list(inequalities(summarize(results)))}
    return json.dumps(sealed(data), indent=1, allow_nan=False)


def from_json(text: str) -> Results:
    """Return the `Results` that `to_json` wrote. Inside `Row.config`, numbers that JSON lacks stay text.

    Raises:
        ValueError: for a text that is something else, naming the entry that is wrong.
    """
    data = unsealed(json_from_text(text))
    data.pop(_UNEQUAL, None)
    return record_from_json(Results, data)


def dump(results: Results, path: Path) -> Path:
    """Write `to_json(results)` to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, to_json(results) + "\n")


def load(path: Path) -> Results:
    """Return the results that `dump` wrote. Raise ValueError with the path for a file that is something else."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}. Restore a copy of it, or move it away") from None


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value
