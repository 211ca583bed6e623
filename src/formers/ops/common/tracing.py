"""Tracing by `torch.export`: sizes that it leaves open, and work on real tensors meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def is_left_open(size: int) -> bool:
    """Return whether `torch.export` leaves a size open, to be any: work may not be laid out by it."""
    return isinstance(size, torch.SymInt)


@contextmanager
def outside_tracing() -> Iterator[None]:
    """Compute with real tensors inside, where `torch.export` traces with tensors that hold nothing.

    What is computed becomes constants of the graph, so it may depend on sizes that the graph fixes, and on no input.
    Elsewhere this does nothing; compilers that read the code take such a function as a constant.
    """
    if not torch.compiler.is_exporting():
        yield
        return
    with torch.utils._python_dispatch._disable_current_modes():
        yield
