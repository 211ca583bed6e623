"""Plans that cannot work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from formers.bench.plan import BenchPlan

Small = Callable[..., BenchPlan]


def test_plans_that_cannot_work(small: Small) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"phases": ("forwards",)}, "did you mean 'forward'"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"rounds": 2}, "3 or more"),
        ({"threads": 0}, "1 or more"),
        ({"phases": ()}, "choose some"),
    ]
    for changes, message in bad:
        with pytest.raises(ValueError, match=message):
            small("identity", **changes)
