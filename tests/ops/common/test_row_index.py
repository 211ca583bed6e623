"""Lists of tokens, read from and written to tensors of any strides: as views and by indices alike."""

from __future__ import annotations

import pytest
import torch

from formers.ops.common.row_index import (
    RowIndex,
    Rows,
    as_rows,
    contiguous_strides,
    from_heads_last,
    heads_last_strides,
)
from formers.ops.common.workspace import Workspace

BATCH, HEADS, LENGTH, WIDTH = 3, 4, 20, 5
INDICES = {
    "runs": RowIndex(range(3), range(4), torch.arange(4)[:, None] * 5 + torch.arange(5), (0, 5)),
    "overlapping runs": RowIndex(range(1, 3), [1, 3], torch.arange(4)[:, None] * 4 + torch.arange(6) + 1, (1, 4)),
    "one head": RowIndex(range(1, 2), [2], torch.arange(2)[:, None] * 10 + torch.arange(10), (0, 10)),
    "scattered": RowIndex(range(3), [0, 1, 3], torch.tensor([[3, 0, 9], [12, 1, 19]]), None),
}
LAYOUTS = {
    "contiguous": lambda t: t.contiguous(),
    "heads last": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2),
    "cut off": lambda t: torch.cat([t, t], 3)[..., :WIDTH],
}


def numbers():
    return torch.arange(BATCH * HEADS * LENGTH * WIDTH, dtype=torch.float32).view(BATCH, HEADS, LENGTH, WIDTH)


def picked(t, index):
    """The lists by plain indexing, (p, x, K)."""
    found = t[index.batch.start : index.batch.stop][:, list(index.heads)][:, :, index.tokens_nx]
    return found.flatten(0, 2)


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", INDICES)
def test_gather(name, layout, dtype, enabled):
    t, index = LAYOUTS[layout](numbers()), INDICES[name]
    workspace = Workspace(t, dtype, enabled=enabled)
    found = as_rows(t).gather(index, dtype, workspace, "t")
    assert found.dtype == dtype
    torch.testing.assert_close(found, picked(numbers(), index).to(dtype))


@pytest.mark.parametrize("name", INDICES)
def test_scatter_and_products(name):
    index, workspace = INDICES[name], Workspace(numbers(), torch.float32)
    n, x = index.tokens_nx.shape
    a, b = torch.randn(index.lists, x, 3), torch.randn(index.lists, 3, WIDTH)
    shape = (len(index.batch), len(index.heads), n, x, WIDTH)
    wanted = torch.zeros(BATCH, HEADS, LENGTH, WIDTH)
    for i, values in enumerate((2 * a @ b).view(shape)):
        for j, head in enumerate(index.heads):
            wanted[index.batch[i], head].index_add_(0, index.tokens_nx.flatten(), values[j].flatten(0, 1))
    added = Rows(torch.zeros(BATCH * HEADS * LENGTH, WIDTH), contiguous_strides(numbers()))
    added.scatter_add_product(index, a, b, 2.0, workspace)
    torch.testing.assert_close(added.flat.view_as(wanted), wanted)
    if name == "overlapping runs":
        return
    for write in ("scatter", "scatter_product"):
        rows = Rows(torch.zeros(BATCH * HEADS * LENGTH, WIDTH), heads_last_strides(numbers()))
        given = (2 * a @ b,) if write == "scatter" else (a, b, 2.0, workspace)
        getattr(rows, write)(index, *given)
        torch.testing.assert_close(from_heads_last(rows.flat, numbers()), wanted)


def test_rows_of_regular_tensors_are_views():
    for layout in ("contiguous", "heads last"):
        t = LAYOUTS[layout](numbers())
        assert as_rows(t).flat.data_ptr() == t.data_ptr()
