"""Limits as people write them: units, texts that read back, and what cannot be read."""

from __future__ import annotations

import math

import pytest

from formers.lab.study.cost_limits import limits_texts, parse_limits


def test_units_are_those_of_each_cost() -> None:
    found = parse_limits("parameters=200k, flops=1.5M, state=64KiB, latency=5ms")
    assert found == {"parameters": 2e5, "flops": 1.5e6, "state": 65536.0, "latency": 0.005}
    assert parse_limits({"latency": "250µs", "parameters": 1_000}) == {"latency": 250e-6, "parameters": 1000.0}


def test_a_cost_may_have_no_limit() -> None:
    found = parse_limits(["state", "parameters=1e6"])
    assert found == {"state": math.inf, "parameters": 1e6}
    assert list(found) == ["state", "parameters"], "the first one is what the front is against"
    assert parse_limits(limits_texts(found)) == found
    assert parse_limits({}) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params=3", "did you mean 'parameters'"),
        ("parameters=5ms", r"as in parameters=200k \(units: k, M, G, T\), not '5ms'"),
        ("latency=0", "above 0"),
        ("latency=.", "above 0"),
        ("state=1, state=2", "comes twice"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_limits(text)
    with pytest.raises(ValueError, match="write costs and their limits"):
        parse_limits(3)
