"""The results of a study as JSON that reads back exactly."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from formers.lab.store.records import Point, Results, Row, TaskMetric
from formers.machine.files import write_atomically

_FLOATS = ("flops_per_token", "state_bytes_per_token", "state_bytes", "train_seconds", "tokens_per_second")


def to_json(results: Results) -> str:
    """Return everything as strict JSON: numbers that JSON lacks become "NaN", "Infinity" and "-Infinity"."""
    return json.dumps(_encode(asdict(results)), indent=1, allow_nan=False)


def from_json(text: str) -> Results:
    """Return the `Results` that `to_json` wrote. Inside `Row.config`, numbers that JSON lacks stay text."""
    data = json.loads(text)
    rows = tuple(_row(row) for row in data.pop("rows"))
    return Results(
        metric=TaskMetric(**data.pop("metric")), references=_numbers(data.pop("references")), rows=rows, **data
    )


def dump(results: Results, path: Path) -> Path:
    """Write `to_json(results)` to `path`, all of it or nothing, and return `path`."""
    return write_atomically(path, to_json(results) + "\n")


def load(path: Path) -> Results:
    """Return the results that `dump` wrote."""
    return from_json(Path(path).read_text(encoding="utf-8"))


def _row(data: dict[str, Any]) -> Row:
    data["curve"] = tuple(
        Point(step=point["step"], seconds=float(point["seconds"]), values=_numbers(point["values"]))
        for point in data["curve"]
    )
    data["samples"] = tuple(data["samples"])
    data["items"] = tuple(float(item) for item in data["items"])
    data["slices"] = {title: _numbers(values) for title, values in data["slices"].items()}
    data["validation"] = _numbers(data["validation"])
    data["metrics"] = _numbers(data["metrics"])
    data |= {name: float(data[name]) for name in _FLOATS if data[name] is not None}
    return Row(**data)


def _numbers(data: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in data.items()}


def _encode(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return value
