"""The costs of an arm that a report tabulates: their names, units and text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from formers.plot.number_format import count, duration, size


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One quantity of a `Row`: the attribute, its label, its text, and the units that an axis can use."""

    name: str
    label: str
    text: Callable[[float | None], str]
    units: tuple[tuple[float, str], ...]
    "(size, name), smallest first."
    zero_is_missing: bool = True
    "Rows that were never measured carry 0."
    log: bool = False
    "Drawn on a logarithmic axis, always."


_DECIMAL = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
_BYTES = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))

_PARAMETERS = Cost(name="parameters", label="parameters", text=count, units=_DECIMAL)
_FLOPS = Cost(name="flops_per_token", label="FLOPs/token", text=count, units=_DECIMAL)
_STEPS_TAKEN = Cost(name="steps_per_token", label="steps/token", text=count, units=_DECIMAL)
_FLOPS_TAKEN = Cost(name="flops_per_token_taken", label="FLOPs/token taken", text=count, units=_DECIMAL)
_TRAINING_FLOPS = Cost(name="training_flops", label="training FLOPs", text=count, units=_DECIMAL)
TIME = Cost(
    name="train_seconds",
    label="training time",
    text=duration,
    units=((1.0, "s"), (60.0, "min"), (3600.0, "h")),
)
_SPEED = Cost(name="tokens_per_second", label="tokens/s", text=count, units=_DECIMAL)
STATE = Cost(name="state_bytes_per_token", label="state/token", text=size, units=_BYTES, zero_is_missing=False)
STATE_SIZE = Cost(name="state_bytes", label="state size", text=size, units=_BYTES, zero_is_missing=False, log=True)
MEMORY = Cost(name="allocated_bytes", label="peak memory", text=size, units=_BYTES)
_PROCESS = Cost(name="peak_bytes", label="memory of the process", text=size, units=_BYTES)
_LATENCY = Cost(
    name="latency_seconds",
    label="latency",
    text=duration,
    units=((1e-6, "µs"), (1e-3, "ms"), (1.0, "s")),
)
_STEPS = Cost(name="steps", label="steps", text=count, units=_DECIMAL)

COSTS = (
    *(_PARAMETERS, _FLOPS, TIME, _SPEED, STATE, STATE_SIZE, MEMORY, _STEPS, _TRAINING_FLOPS),
    *(_LATENCY, _STEPS_TAKEN, _FLOPS_TAKEN, _PROCESS),
)
RANKING_COSTS = (_PARAMETERS, _FLOPS, TIME, _SPEED, MEMORY, STATE, _LATENCY, _STEPS_TAKEN, _FLOPS_TAKEN)
"The columns of the ranking."
TRADED_COSTS = (TIME, _PARAMETERS, _FLOPS, STATE_SIZE, MEMORY, _LATENCY)
"The costs that quality is drawn against."
MATCHABLE = {"steps": _STEPS, "parameters": _PARAMETERS, "flops": _TRAINING_FLOPS, "time": TIME}
"`Results.matched` → the quantity that was made equal between arms."


def cost_named(name: str) -> Cost:
    """Return the cost that a `Row` has under this name."""
    return next(cost for cost in COSTS if cost.name == name)
