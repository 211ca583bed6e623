"""JSON of any other shape than the declared one is refused, with the place of what is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from formers.machine.typed_json import WrongJson, record_from_json


@dataclass(frozen=True)
class Inner:
    numbers: tuple[float, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outer:
    count: int
    kind: Literal["a", "b"] = "a"
    maybe: float | None = None
    sure: bool = False
    inner: tuple[Inner, ...] = ()
    anything: Any = None


def test_what_was_written_is_read() -> None:
    data = {"count": 3, "kind": "b", "maybe": 1, "inner": [{"numbers": [1, "NaN", "-Infinity"]}], "anything": [{}]}
    found = record_from_json(Outer, data)
    assert (found.count, found.kind, found.maybe, found.anything) == (3, "b", 1.0, [{}])
    assert found.inner[0].numbers[2] == -math.inf
    assert record_from_json(Outer, {"count": 1}) == Outer(1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "Outer must be an object, not a list of 0"),
        ({}, "Outer holds no 'count'"),
        ({"count": 1, "colour": 2}, "Outer has no 'colour'"),
        ({"count": 1.0}, "count must be a whole number, not 1.0"),
        ({"count": True}, "count must be a whole number, not True"),
        ({"count": 10**400}, "count must be a whole number of at most 64 bits, not a number of more than 64 bits"),
        ({"count": 1, "kind": "c"}, "kind must be one of 'a', 'b', not 'c'"),
        ({"count": 1, "kind": []}, "kind must be one of 'a', 'b', not a list of 0"),
        ({"count": 1, "maybe": 10**400}, "maybe must be a number, not a number of more than 64 bits"),
        ({"count": 1, "maybe": "x" * 10**6}, "maybe must be a number, not 'x{59}…$"),
        ({"count": 1, "sure": 0}, "sure must be true or false, not 0"),
        ({"count": 1, "inner": [{"numbers": [1, None]}]}, r"inner\[0\].numbers\[1\] must be a number, not None"),
        ({"count": 1, "inner": [{"texts": {"a": 1}}]}, r"inner\[0\].texts.'a' must be a text, not 1"),
        ({"count": 1, "inner": {}}, "inner must be a list, not a dict of 0"),
    ],
)
def test_what_is_wrong_is_named(data: Any, words: str) -> None:
    with pytest.raises(WrongJson, match=words):
        record_from_json(Outer, data)
