"""A tensor (B, H, L, K) as rows of K numbers, and lists of tokens that are gathered from it or scattered into it.

Lists that lie at even steps are views, without an index: reading and writing them costs no gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from formers.ops.common.workspace import Workspace

RowStrides: TypeAlias = tuple[int, int, int]
"""Rows from one sequence of the batch, one head and one token to the next."""


@dataclass(frozen=True, eq=False)
class RowIndex:
    """Lists of tokens in some heads of some sequences of a batch; p of them in all.

    Attributes:
        batch: which sequences of the batch.
        heads: which heads of each.
        tokens_nx: the tokens of each list, (n, x), the same for all these heads.
        runs: (first, step) where list n is the run of tokens from first + n·step on; None for others.
    """

    batch: range
    heads: Sequence[int]
    tokens_nx: Tensor
    runs: tuple[int, int] | None
    _flat: dict[RowStrides, Tensor] = field(default_factory=dict, init=False, repr=False)

    def flat(self, strides: RowStrides) -> Tensor:
        """Return the numbers of these rows in a tensor with such strides, flat; made once for each strides."""
        if strides not in self._flat:
            (b, h, t), device = strides, self.tokens_nx.device
            first_p = torch.tensor([one * b + head * h for one in self.batch for head in self.heads], device=device)
            self._flat[strides] = (first_p.view(-1, 1, 1) + self.tokens_nx * t).flatten()
        return self._flat[strides]

    @property
    def single_head(self) -> bool:
        """True if all are of one head of one sequence."""
        return len(self.batch) == len(self.heads) == 1

    @property
    def lists(self) -> int:
        """The number of lists in all, p."""
        return len(self.batch) * len(self.heads) * len(self.tokens_nx)


class Rows(NamedTuple):
    """A tensor (B, H, L, K) as rows of K numbers.

    Attributes:
        flat: the rows, (number of rows, K).
        strides: where the row of a sequence, head and token is.
    """

    flat: Tensor
    strides: RowStrides

    def view(self, index: RowIndex, start: int = 0, size: int | None = None) -> Tensor | None:
        """Return the lists as a view (batch, heads, n, x, K), or `size` tokens of each from `start` on.

        None where they do not lie at even steps.
        """
        heads = _as_range(index.heads)
        if index.runs is None or heads is None:
            return None
        (first, step), (b, h, t), width = index.runs, self.strides, self.flat.shape[1]
        n, x = index.tokens_nx.shape
        shape = (len(index.batch), len(heads), n, x if size is None else size, width)
        strides = (b * width, heads.step * h * width, step * t * width, t * width, 1)
        begin = index.batch.start * b + heads.start * h + (first + start) * t
        return self.flat.as_strided(shape, strides, self.flat.storage_offset() + begin * width)

    def gather(self, index: RowIndex, dtype: torch.dtype, workspace: Workspace, name: str) -> Tensor:
        """Return the lists, (p, x, K): a view where they lie at even steps, else in the workspace's buffer `name`."""
        view = self.view(index) if workspace.enabled else None
        if view is not None and index.single_head and self.flat.dtype == dtype:
            return view[0, 0]
        width = self.flat.shape[1]
        out = workspace.out(name, index.lists, index.tokens_nx.shape[1], width)
        if view is not None and out is not None:
            out.view(view.shape).copy_(view)
            return out
        into = out.view(-1, width) if out is not None and self.flat.dtype == dtype else None
        found = torch.index_select(self.flat, 0, index.flat(self.strides), out=into)
        return found.view(-1, index.tokens_nx.shape[1], width).to(dtype)

    def scatter(self, index: RowIndex, values: Tensor) -> None:
        """Write values (p, x, K) to the lists."""
        view = self.view(index)
        if view is None:
            self.flat.index_copy_(0, index.flat(self.strides), values.flatten(0, 1).to(self.flat.dtype))
        else:
            view.copy_(values.view(view.shape))

    def scatter_product(self, index: RowIndex, a: Tensor, b: Tensor, scale: float, workspace: Workspace) -> None:
        """Write scale · a b, (p, x, K), to the lists."""
        view = self.view(index) if index.single_head else None
        if view is not None and view.is_contiguous():
            scaled_bmm(a, b, scale, view[0, 0])
        else:
            self.scatter(index, scaled_bmm(a, b, scale, workspace.out("product", len(a), a.shape[1], b.shape[2])))

    def scatter_add_product(self, index: RowIndex, a: Tensor, b: Tensor, scale: float, workspace: Workspace) -> None:
        """Add scale · a b, (p, x, K), to the lists, which may share tokens."""
        size, width = a.shape[1], b.shape[2]
        if index.runs is None or _as_range(index.heads) is None:
            whole = scaled_bmm(a, b, scale, workspace.out("product", len(a), size, width))
            self.flat.index_add_(0, index.flat(self.strides), whole.flatten(0, 1))
            return
        step = index.runs[1]
        for start in range(0, size, step):  # `step` tokens of each list at once: these do not overlap
            some = a[:, start : start + step]
            view = self.view(index, start, some.shape[1])
            assert view is not None
            if index.single_head and view.is_contiguous():
                torch.baddbmm(view[0, 0], some, b, alpha=scale, out=view[0, 0])
            else:
                out = workspace.out("product", *some.shape[:2], width)
                view.add_(scaled_bmm(some, b, scale, out).view(view.shape))


def as_rows(t: Tensor) -> Rows:
    """Return a tensor (B, H, L, K) as rows, without a copy where its strides allow."""
    batch, heads, length, width = t.shape
    b, h, n, one = t.stride()
    reach = (batch - 1) * b + (heads - 1) * h + (length - 1) * n + width
    fits = one == 1 and not (b % width or h % width or n % width) and t.numel() and reach % width == 0
    if fits and not torch.compiler.is_compiling() and reach == t.numel():
        return Rows(t.as_strided((reach // width, width), (width, 1)), (b // width, h // width, n // width))
    return Rows(t.reshape(-1, width).contiguous(), contiguous_strides(t))


def contiguous_strides(t: Tensor) -> RowStrides:
    """Return the strides of the rows of a contiguous tensor (B, H, L, K)."""
    _, heads, length, _ = t.shape
    return heads * length, length, 1


def heads_last_strides(q: Tensor) -> RowStrides:
    """Return the strides of the rows of a result (B, H, L, V) that lies in memory as (B, L, H, V).

    The layer that joins heads wants it so.
    """
    _, heads, length, _ = q.shape
    return heads * length, 1, heads


def from_heads_last(flat: Tensor, q: Tensor) -> Tensor:
    """Return rows that lie as (B, L, H) as a view (B, H, L, ·), with the sizes of q (B, H, L, K)."""
    return flat.view(q.shape[0], q.shape[2], q.shape[1], flat.shape[1]).transpose(1, 2)


def scaled_bmm(a: Tensor, b: Tensor, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
    """Return scale · a b for batches of matrices, in one call."""
    unused = a.new_zeros(()).expand(len(a), a.shape[1], b.shape[2])
    return torch.baddbmm(unused, a, b, beta=0, alpha=scale, out=out)


def _as_range(heads: Sequence[int]) -> range | None:
    """Return these numbers as a range, or None if they are not evenly spaced."""
    step = heads[1] - heads[0] if len(heads) > 1 else 1
    found = range(heads[0], heads[-1] + 1, step) if step > 0 else range(0)
    return found if list(found) == list(heads) else None
