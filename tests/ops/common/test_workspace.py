"""Buffers are used again, and none are where there is no gain."""

from __future__ import annotations

import torch

from formers.ops.common.workspace import Workspace, should_tile


def test_a_buffer_is_used_again_and_grows():
    workspace = Workspace(torch.empty(1), torch.float64)
    first = workspace.out("a", 4, 5)
    assert first.dtype == torch.float64
    assert workspace.out("a", 2, 3).data_ptr() == first.data_ptr()
    assert workspace.out("b", 2, 3).data_ptr() != first.data_ptr()
    assert workspace.out("a", 40, 5).shape == (40, 5)
    assert workspace.reuse(first) is first


def test_disabled_it_gives_none_or_fresh_memory():
    for workspace in (
        Workspace(torch.empty(1), torch.float32, enabled=False),
        Workspace(torch.empty(1, device="meta"), torch.float32),
    ):
        assert workspace.out("a", 2, 3) is None
        assert workspace.reuse(torch.empty(2)) is None
        assert workspace.empty("a", 2, 3).shape == (2, 3)


def test_tiles_are_for_cpus():
    assert should_tile(torch.empty(1))
    assert not should_tile(torch.empty(1, device="meta"))
