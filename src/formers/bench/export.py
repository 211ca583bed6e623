"""A bench as data: JSON that reads back equal, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path

from formers.bench.record import Bench, Row
from formers.bench.summary import Summary, summarize
from formers.lab.report.export import write_atomically

JSON, CSV, HTML = "bench.json", "bench.csv", "bench.html"
_COLUMNS = ("subject", "kind", "phase", "length", "width", "heads", "batch", "status")
_HEADER = (
    *_COLUMNS,
    *("rounds", "seconds", "seconds_low", "seconds_high", "coverage", "ratio", "ratio_low", "ratio_high"),
    *("flops", "share_of_product", "peak_bytes", "state_bytes", "cause"),
)


def to_json(bench: Bench) -> str:
    """Everything, as strict JSON."""
    return json.dumps(asdict(bench), indent=1, allow_nan=False, ensure_ascii=False)


def from_json(text: str) -> Bench:
    """The bench that `to_json` wrote. Raises `ValueError` for a text that is something else."""
    try:
        data = json.loads(text)
        rows = [{**row, "seconds": tuple(row["seconds"]), "yardstick": tuple(row["yardstick"])} for row in data["rows"]]
        return Bench(**{**data, "rows": tuple(Row(**row) for row in rows)})
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"this is not a bench: {type(error).__name__}: {error}") from None


def load(path: Path) -> Bench:
    """Reads what `dump` wrote. Raises `ValueError` with the path for a file that is something else."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; move it away, or measure again with formers bench") from None


def dump(bench: Bench, path: Path) -> Path:
    """Writes `to_json(bench)` to `path`, all of it or nothing."""
    return write_atomically(path, to_json(bench) + "\n")


def to_csv(bench: Bench) -> str:
    """One line a row, in full precision. Times in seconds, ratios to the reference of the bench."""
    summary = summarize(bench)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_HEADER)
    for row in bench.rows:
        writer.writerow([*(getattr(row, name) for name in _COLUMNS), *_numbers(summary, row), row.cause])
    return out.getvalue()


def _numbers(summary: Summary, row: Row) -> list[float | int | None]:
    point = summary.points.get(row)
    if point is None:
        return [0, *[None] * 7, row.flops, None, row.peak_bytes, row.state_bytes]
    ratio = point.ratio
    ends = [ratio.median, ratio.low, ratio.high] if ratio else [None] * 3
    time = point.time
    return [
        *(len(row.seconds), time.median, time.low, time.high, time.coverage),
        *ends,
        *(row.flops, point.share, row.peak_bytes, row.state_bytes),
    ]
