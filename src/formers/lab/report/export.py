"""The report as data: JSON that reads back exactly, CSV for spreadsheets, Markdown for a pull request."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from formers.lab.report.columns import ranking
from formers.lab.report.costs import COSTS
from formers.lab.report.headline import headline
from formers.lab.report.summary import Summary, summarize
from formers.lab.store.records import Point, Results, Row, TaskMetric
from formers.machine.files import write_atomically as write_atomically
from formers.plot.number_format import visible

_FLOATS = ("flops_per_token", "state_bytes_per_token", "state_bytes", "train_seconds", "tokens_per_second")


def to_json(results: Results) -> str:
    """Everything, as strict JSON: numbers that JSON lacks become "NaN", "Infinity" and "-Infinity"."""
    return json.dumps(_encode(asdict(results)), indent=1, allow_nan=False)


def from_json(text: str) -> Results:
    """The `Results` that `to_json` wrote. Inside `Row.config`, numbers that JSON lacks stay text."""
    data = json.loads(text)
    rows = tuple(_row(row) for row in data.pop("rows"))
    return Results(
        metric=TaskMetric(**data.pop("metric")), references=_numbers(data.pop("references")), rows=rows, **data
    )


def dump(results: Results, path: Path) -> Path:
    """Write `to_json(results)` to `path`, all of it or nothing."""
    return write_atomically(path, to_json(results) + "\n")


def load(path: Path) -> Results:
    """Read what `dump` wrote."""
    return from_json(Path(path).read_text(encoding="utf-8"))


def to_csv(results: Results) -> str:
    """One line a run, in full precision: arm, its rank, seed, status, every metric, every cost, cause, command."""
    return csv_of(summarize(results))


def csv_of(summary: Summary) -> str:
    """`to_csv` of what is summarised already."""
    rows = summary.results.rows
    ranks = {arm.name: arm.rank for arm in summary.arms}
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    costs = [cost.name for cost in COSTS]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["rank", "arm", "seed", "status", *metrics, *costs, "cause", "command"])
    for row in rows:
        measured = [*(row.metrics.get(name) for name in metrics), *(getattr(row, name) for name in costs)]
        writer.writerow([ranks[row.arm], row.arm, row.seed, row.status, *measured, row.cause, row.command])
    return out.getvalue()


def to_markdown(results: Results) -> str:
    """The headline and the ranking as a table."""
    summary = summarize(results)
    table = ranking(summary)
    lines = [" ".join(map(_escaped, headline(summary))), ""]
    lines += [_markdown_line(column.title for column in table.columns)]
    lines += [_markdown_line("---" if column.text else "--:" for column in table.columns)]
    lines += [_markdown_line(_escaped(cell) for cell in line.cells) for line in table.lines]
    return "\n".join(lines) + "\n"


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


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(cell: str) -> str:
    """A cell that stays one cell, and in which nothing is markup."""
    for character in "\\`*_{}[]<>|#":
        cell = cell.replace(character, "\\" + character)
    return " ".join(visible(cell).split())
