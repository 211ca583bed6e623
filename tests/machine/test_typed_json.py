"""Records from JSON: the right types, or an error that says where."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest

from formers.machine.typed_json import from_plain


@dataclass(frozen=True, kw_only=True)
class Step:
    at: int
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Run:
    name: str
    state: Literal["done", "lost"]
    steps: tuple[Step, ...] = ()
    bytes: int | None = None
    speed: float = 0.0
    whole: bool = True
    notes: dict[str, Any] = field(default_factory=dict)


RUN = Run(name="a", state="done", steps=(Step(at=1, values={"loss": 2.5}),), bytes=3, notes={"x": [1]})


def test_reads_back_equal() -> None:
    assert from_plain(Run, json.loads(json.dumps(asdict(RUN)))) == RUN


def test_floats_that_json_lacks() -> None:
    assert from_plain(Run, {"name": "a", "state": "lost", "speed": "-Infinity"}).speed == -math.inf
    assert math.isnan(from_plain(Run, {"name": "a", "state": "lost", "speed": "NaN"}).speed)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"speed": "fast"}, "Run.speed must be a number, but 'fast' was found"),
        ({"speed": 10**400}, "Run.speed must be a number, but a int was found"),
        ({"speed": True}, "Run.speed must be a number"),
        ({"bytes": 1.5}, "Run.bytes must be a whole number, but 1.5"),
        ({"state": "gone"}, "Run.state must be one of 'done', 'lost'"),
        ({"state": ["done"]}, "Run.state must be one of"),
        ({"steps": [{"at": 1}]}, r"Run.steps\[0\] lacks values"),
        ({"steps": [{"at": 1, "values": {"a": []}}]}, r"Run.steps\[0\].values\['a'\] must be a number"),
        ({"steps": {}}, "Run.steps must be a list"),
        ({"name": None}, "Run.name must be a text, but a NoneType"),
        ({"\x1b[31m": 1}, r"Run has no field '\\x1b\[31m'; it has name"),
        ({"name": ["x" * 9]}, "Run.name must be a text, but a list"),
        ({"state": "x" * 500}, "x…"),
    ],
)
def test_other_values_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_plain(Run, asdict(RUN) | {"steps": []} | change)


def test_no_mapping() -> None:
    with pytest.raises(ValueError, match="Run must be a mapping, but 3 was found"):
        from_plain(Run, 3)
