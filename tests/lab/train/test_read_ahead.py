"""Items that are read several at a time come in order, one by one, and an error comes in its turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from formers.lab.train.read_ahead import ReadAhead


def test_items_come_in_order_and_several_are_read_at_a_time() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(10):
            read.append(item)
            yield item

    ahead = ReadAhead(items(), 4)
    assert [next(ahead) for _ in range(4)] == [0, 1, 2, 3]
    assert read == [0, 1, 2, 3]
    assert next(ahead) == 4
    assert read == [*range(8)]
    assert [*ahead] == [*range(5, 10)]
    assert next(ahead, None) is None


def test_an_error_is_raised_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("example 3")

    ahead = ReadAhead(items(), 8)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(ValueError, match="example 3"):
            next(ahead)
