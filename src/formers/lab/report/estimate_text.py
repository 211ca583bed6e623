"""Estimates as text: `1.523 ± 0.012`, and differences with a sign."""

from __future__ import annotations

from formers.lab.report.confidence_interval import Estimate
from formers.plot.number_format import fixed


def estimate_text(value: Estimate | None, digits: int, sign: bool = False) -> str:
    """Return `1.523 ± 0.012`; without an interval just the mean."""
    if value is None or value.half_width is None:
        return fixed(value.mean if value else None, digits, sign)
    return f"{fixed(value.mean, digits, sign)} ± {fixed(value.half_width, digits)}"


def difference_text(value: Estimate | None, digits: int) -> str:
    """Return a difference with its sign; `≈` before one that is not established."""
    doubt = "≈ " if value and value.half_width is not None and not value.established else ""
    return doubt + estimate_text(value, digits, sign=True)
