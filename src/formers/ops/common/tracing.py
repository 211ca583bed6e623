"""Tracing by `torch.export` and `torch.compile`: sizes that they leave open, and work on real tensors meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def is_left_open(size: int) -> bool:
    """Return whether `torch.export` leaves a size open, to be any: work may not be laid out by it."""
    return isinstance(size, torch.SymInt)


def fixed_size(size: int) -> int:
    """Return a size that work is laid out by: a graph that `torch.compile` makes is for this one alone.

    After a second length the compiler leaves lengths open; here it makes a graph for each instead, as many as
    `torch._dynamo.config.recompile_limit` allows.
    """
    return len(range(size)) if torch.compiler.is_compiling() else size  # a range is of numbers, so that it is fixed


@contextmanager
def outside_tracing() -> Iterator[None]:
    """Compute with real tensors inside, where `torch.export` traces with tensors that hold nothing.

    What is computed becomes constants of the graph, so it may depend on sizes that the graph fixes, and on no input.
    Nor are its operations counted, or looked at by anything else that stands between torch's operators: that would
    take several times as long. Elsewhere this does nothing; compilers that read the code take such a function as a
    constant.
    """
    if not torch.compiler.is_exporting() and not torch._C._len_torch_dispatch_stack():
        yield
        return
    with torch.utils._python_dispatch._disable_current_modes():
        yield
