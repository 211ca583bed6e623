"""An iterator that reads several items in a row, and gives them out one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any


class ReadAhead:
    """Reads `several` items of an iterator at a time. An error in one of them is raised in its turn, not before."""

    def __init__(self, source: Iterator[Any], several: int) -> None:
        self.source, self._several = source, several
        self._read = deque[Any]()
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._read and self._error is None:
            try:
                self._read.extend(islice(self.source, self._several))
            except Exception as error:
                self._error = error
        if self._read:
            return self._read.popleft()
        if self._error is not None:
            raise self._error
        raise StopIteration
