from __future__ import annotations

import pytest

from formers.lab.store.order_number import order_number


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), ("", 0), ("-1", 0), ("1.5", 0), ("9" * 19, 10**19 - 1), ("9" * 20, 0)]
)
def test_only_a_number_of_a_usual_size_orders(text: str, number: int) -> None:
    assert order_number(text) == number
