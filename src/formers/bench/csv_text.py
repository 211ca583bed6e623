"""The results of a benchmark as CSV, for spreadsheets."""

from __future__ import annotations

from formers.bench.results import BenchResults, Measurement
from formers.bench.summarize import summarize
from formers.bench.summary import BenchSummary
from formers.plot.csv_file import csv_text

_COLUMNS = ("subject", "kind", "phase", "length", "width", "heads", "batch", "status")
_HEADER = (
    *_COLUMNS,
    *("rounds", "seconds", "seconds_low", "seconds_high", "coverage", "ratio", "ratio_low", "ratio_high"),
    *("flops", "share_of_product", "peak_bytes", "state_bytes", "cause"),
)


def to_csv(results: BenchResults) -> str:
    """Return one line a measurement, in full precision: times in seconds, ratios to the reference."""
    summary = summarize(results)
    return csv_text(
        _HEADER,
        [[*(getattr(row, name) for name in _COLUMNS), *_numbers(summary, row), row.cause] for row in results.rows],
    )


def _numbers(summary: BenchSummary, row: Measurement) -> list[float | int | None]:
    """Return the numbers of one line, from `rounds` to `state_bytes`."""
    point = summary.points.get(row)
    if point is None:
        return [0, *[None] * 7, row.flops, None, row.peak_bytes, row.state_bytes]
    time, ratio = point.time, point.ratio
    return [
        *(len(row.seconds), time.median, time.low, time.high, time.coverage),
        *((ratio.median, ratio.low, ratio.high) if ratio else [None] * 3),
        *(row.flops, point.share, row.peak_bytes, row.state_bytes),
    ]
