"""Limits of what a model may cost: parameters, operations, bytes of state, seconds of a forward pass."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from formers.part import check_names, quoted

COST_OF = {
    "parameters": "parameters",
    "flops": "flops_per_token",
    "state": "state_bytes",
    "latency": "latency_seconds",
}
"""Cost as people name it → the attribute of a row that has it, in numbers, operations a token, bytes, and seconds."""
_COUNT = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BYTES = {**_COUNT, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_UNITS = {"parameters": _COUNT, "flops": _COUNT, "state": _BYTES, "latency": _SECONDS}
_EXAMPLES = {"parameters": "200k", "flops": "1.5M", "state": "64KiB", "latency": "5ms"}
_AMOUNT = re.compile(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)")


def parse_limits(given: Any) -> dict[str, float]:
    """Return cost → the most that a model may have of it, for `parameters=200k, latency=5ms`, a list, or a mapping.

    A cost without a number, `parameters`, has no limit (infinity): it is what quality is held against.

    Raises:
        ValueError: for an unknown cost, one that comes twice, and an amount that cannot be read.
    """
    limits: dict[str, float] = {}
    for name, amount in _pairs(given):
        check_names("under", [name], list(COST_OF), word="cost")
        if name in limits:
            raise ValueError(f"under: {name} comes twice; give it one limit")
        limits[name] = math.inf if amount in (None, math.inf) else _amount(name, amount)
    return limits


def limits_texts(limits: Mapping[str, float]) -> list[str]:
    """Return limits as texts that `parse_limits` reads back."""
    return [name if math.isinf(limit) else f"{name}={limit:.15g}" for name, limit in limits.items()]


def _pairs(given: Any) -> Iterable[tuple[str, Any]]:
    """Yield cost and amount; None for a cost without one."""
    if isinstance(given, Mapping):
        yield from ((str(name), amount) for name, amount in given.items())
        return
    texts = given.split(",") if isinstance(given, str) else given
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"under: write costs and their limits, as in parameters=200k, not {quoted(given)}")
    for text in (piece for listed in texts for piece in listed.split(",")):
        name, equals, amount = (part.strip() for part in text.partition("="))
        yield name, amount if equals else None


def _amount(name: str, amount: Any) -> float:
    """Return an amount in the unit of its cost."""
    found = _AMOUNT.fullmatch(str(amount).strip().replace("_", ""))
    try:
        value = float(found[1]) * _UNITS[name][found[2]] if found else math.nan
    except (ValueError, KeyError):
        value = math.nan
    if isinstance(amount, bool) or not 0 < value < math.inf:
        units = ", ".join(unit for unit in _UNITS[name] if unit)
        raise ValueError(
            f"under: {name} is at most a number above 0, as in {name}={_EXAMPLES[name]} (units: {units}), not "
            f"{quoted(amount)}"
        )
    return value
