"""Memory is counted, and limited."""

from __future__ import annotations

import pytest
import torch

from formers.bench.measuring.memory import memory_limit, peak_bytes


def test_peak_bytes_counts_what_is_alive_at_once() -> None:
    def run() -> None:
        first = torch.ones(1000)  # 4,000 bytes
        second = first + 1  # 4,000 more
        del first
        third = second + 1
        del second, third

    run()
    assert 8000 <= peak_bytes(run) < 8100  # the 1 that is added is a tensor, too


def test_beyond_the_limit_an_allocation_raises() -> None:
    with memory_limit(64 * 2**20):
        torch.ones(2**20)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            torch.ones(2**28)
    assert torch.ones(2**25).sum() == 2**25
