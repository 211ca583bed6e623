"""A pattern as lists of keys: kept, small, and regular where the pattern is."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from formers.ops.sparse_attention import block_lists, sparse_attention
from formers.patterns import Global, Window


def test_lists_are_kept_and_bounded():
    first = block_lists(Window(5), 64, 64)
    assert block_lists(Window(5), 64, 64) is first
    assert block_lists.cache_info().maxsize is not None


def test_long_lists_need_no_large_mask():
    lists = block_lists((Window(128) | Global(0)).resolve(length=65536, causal=True), 65536, 65536)
    assert lists.computed < 2 * lists.pairs
    assert sum(group.hidden_uls.numel() for group in lists.groups if group.hidden_uls is not None) < 1e6


@pytest.mark.parametrize(("pattern", "runs"), [(Window(50), True), (Window(50) | Global(0), False)], ids=str)
def test_windows_are_known_as_runs(pattern, runs):
    """Runs are copied as slices; what makes the lists of a window full keeps them runs."""
    largest = max(
        block_lists(pattern.resolve(length=640, causal=True), 640, 640).groups, key=lambda group: len(group.k_ns)
    )
    assert (largest.k_runs is not None) is runs
    assert largest.q_runs is not None
    if runs:
        first, step = largest.k_runs
        assert torch.equal(largest.k_ns[3], torch.arange(largest.k_ns.shape[1]) + first + 3 * step)


def test_what_watches_operators_does_not_slow_down_the_making_of_lists():
    """Counting the operations of a long sequence took several times as long as the lists themselves."""

    class Watching(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            Watching.calls += 1
            return operator(*args, **(kwargs or {}))

    q = torch.zeros(1, 1, 1999, 4, device="meta")  # a length without lists so far
    with Watching():
        y = sparse_attention(q, q, q, pattern=Window(7), causal=True, impl="gathered")
    assert y.is_meta
    assert Watching.calls < 200
