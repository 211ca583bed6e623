"""Numbers as people read them: few digits, a unit, a true minus sign, a dash where there is nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

NOTHING = "–"


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits and no exponent below a million: 0.0123, 1.23, 123."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    value = float(f"{value:.{digits - 1}e}")
    if abs(value) >= 10 ** max(digits, 6) or abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"


def grouped(value: float, digits: int = 4) -> str:
    """Return `value` with `digits` significant digits, and from 1,000 on as a whole number: 34.91, 906.2, 14,877."""
    return f"{value:,.0f}" if math.isfinite(value) and 1000 <= abs(value) < 1e9 else significant(value, digits)


def count(value: float | None) -> str:
    """Return a number with a decimal prefix: 950, 1.23 k, 45.6 M, 7.89 G."""
    return _scaled(value, 1000, ("", "k", "M", "G", "T", "P"))


def size(value: float | None) -> str:
    """Return bytes with a binary prefix: 512 B, 2 KiB, 1.50 MiB."""
    return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def duration(value: float | None) -> str:
    """Return seconds as 0.123 s, 48.2 s, 12 min 05 s, 3 h 07 min."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < 120:
        return f"{significant(value)} s"
    big, small, units = (60, 1, ("min", "s")) if value < 7200 else (3600, 60, ("h", "min"))
    whole = round(value / small)
    return f"{whole * small // big} {units[0]} {whole * small % big // small:02d} {units[1]}"


def decimals(values: Iterable[float]) -> int:
    """Return the number of digits after the point that shows four significant ones of a typical value."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    if not sizes:
        return 3
    return min(6, max(0, 3 - math.floor(math.log10(median(sizes)))))


def fixed(value: float | None, places: int, sign: bool = False) -> str:
    """Return `value` with `places` digits after the point; `sign` writes the plus too. Zero has no minus."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:{'+' if sign else ''}z.{places}f}"
    return text.replace("-", "−")


def percent(ratio: float) -> str:
    """Return a relative difference: 0.031 → +3.1 %."""
    return "±0 %" if abs(ratio) < 5e-4 else fixed(100 * ratio, 1 if abs(ratio) < 1 else 0, sign=True) + " %"


def _scaled(value: float | None, base: float, units: tuple[str, ...]) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    unit = 0
    while abs(value) >= base - 0.5 and unit < len(units) - 1:
        value, unit = value / base, unit + 1
    number = f"{value:.0f}" if value == int(value) and abs(value) < base else significant(value)
    return f"{number} {units[unit]}".rstrip()
