"""Sizes that no machine has room for, refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_BEYOND_COUNTING = ("Storage size calculation overflowed", "Overflow when unpacking long")
"""Words in torch's errors for tensors of more numbers, or more bytes, than 63 bits count."""


@contextmanager
def countable_sizes() -> Iterator[None]:
    """Raise ValueError for a tensor whose numbers torch cannot count, in the place of torch's own error.

    Sizes that options give are checked by the parts that have them; this is for products of sizes that are sound by
    themselves. Works as a decorator, too.
    """
    try:
        yield
    except (RuntimeError, TypeError) as error:
        if not any(words in str(error) for words in _BEYOND_COUNTING):
            raise
        said = str(error).splitlines()[0]
        raise ValueError(f"no machine has room for a tensor of these sizes; make them smaller ({said})") from error
