"""Tensors (B, H, L, K) as rows of K numbers, and room for pieces of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RowIndex:
    """Lists of tokens in some heads of some rows of a batch.

    Attributes:
        rows, heads: rows of the batch, and heads of each.
        t_nx: the tokens of each list, (n, x).
        runs: (first, step) where list n is the run of tokens from first + n·step on; None for others.
    """

    rows: range
    heads: Sequence[int]
    t_nx: Tensor
    runs: tuple[int, int] | None
    known: dict[tuple[int, int, int], Tensor] = field(default_factory=dict)

    def at(self, steps: tuple[int, int, int]) -> Tensor:
        """Which rows these are in a tensor with such steps between rows of the batch, heads and tokens; flat."""
        if steps not in self.known:
            (b, h, t), device = steps, self.t_nx.device
            first_p = torch.tensor([row * b + head * h for row in self.rows for head in self.heads], device=device)
            self.known[steps] = (first_p.view(-1, 1, 1) + self.t_nx * t).flatten()
        return self.known[steps]

    @property
    def alone(self) -> bool:
        """Whether they are of one head of one row."""
        return len(self.rows) == len(self.heads) == 1

    @property
    def lists(self) -> int:
        """How many lists there are in all, p."""
        return len(self.rows) * len(self.heads) * len(self.t_nx)


class Rows(NamedTuple):
    """A tensor (B, H, L, K) as rows of K numbers, without a copy where its strides allow."""

    flat: Tensor
    steps: tuple[int, int, int]

    def strided(self, where: RowIndex, start: int = 0, size: int | None = None) -> Tensor | None:
        """The lists as a view (rows, heads, n, x, K), or from a place on of each list; None where they are not so regular."""
        heads = _evenly(where.heads)
        if where.runs is None or heads is None:
            return None
        (first, step), (b, h, t), width = where.runs, self.steps, self.flat.shape[1]
        n, x = where.t_nx.shape
        shape = (len(where.rows), len(heads), n, x if size is None else size, width)
        strides = (b * width, heads.step * h * width, step * t * width, t * width, 1)
        begin = where.rows.start * b + heads.start * h + (first + start) * t
        return self.flat.as_strided(shape, strides, self.flat.storage_offset() + begin * width)

    def take(self, where: RowIndex, dtype: torch.dtype, room: Workspace, name: str) -> Tensor:
        """(p, x, K): a view where that is one of even steps, or in the room's memory of that name."""
        view = self.strided(where) if room.used else None
        if view is not None and where.alone and self.flat.dtype == dtype:
            return view[0, 0]
        out, width = room.new(name, where.lists, where.t_nx.shape[1], self.flat.shape[1]), self.flat.shape[1]
        if view is not None and out is not None:
            out.view(view.shape).copy_(view)
            return out
        into = out.view(-1, width) if out is not None and self.flat.dtype == dtype else None
        found = torch.index_select(self.flat, 0, where.at(self.steps), out=into)
        return found.view(-1, where.t_nx.shape[1], width).to(dtype)

    def put(self, where: RowIndex, values: Tensor) -> None:
        """Writes (p, x, K)."""
        view = self.strided(where)
        if view is None:
            self.flat.index_copy_(0, where.at(self.steps), values.flatten(0, 1).to(self.flat.dtype))
        else:
            view.copy_(values.view(view.shape))

    def put_product(self, where: RowIndex, a: Tensor, b: Tensor, scale: float, room: Workspace) -> None:
        """Writes scale · a b, (p, x, K)."""
        view = self.strided(where) if where.alone else None
        if view is not None and view.is_contiguous():
            product(a, b, scale, view[0, 0])
        else:
            self.put(where, product(a, b, scale, room.new("product", len(a), a.shape[1], b.shape[2])))

    def add_product(self, where: RowIndex, a: Tensor, b: Tensor, scale: float, room: Workspace) -> None:
        """Adds scale · a b, (p, x, K), where lists may share tokens."""
        size, width = a.shape[1], b.shape[2]
        if where.runs is None or _evenly(where.heads) is None:
            whole = product(a, b, scale, room.new("product", len(a), size, width))
            self.flat.index_add_(0, where.at(self.steps), whole.flatten(0, 1))
            return
        step = where.runs[1]
        for start in range(0, size, step):  # `step` tokens of each list at once: these do not overlap
            part = a[:, start : start + step]
            view = self.strided(where, start, part.shape[1])
            assert view is not None
            if where.alone and view.is_contiguous():
                torch.baddbmm(view[0, 0], part, b, alpha=scale, out=view[0, 0])
            else:
                view.add_(product(part, b, scale, room.new("product", *part.shape[:2], width)).view(view.shape))


def product(a: Tensor, b: Tensor, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
    """scale · a b."""
    nothing = a.new_zeros(()).expand(len(a), a.shape[1], b.shape[2])
    return torch.baddbmm(nothing, a, b, beta=0, alpha=scale, out=out)


def _evenly(heads: Sequence[int]) -> range | None:
    """These numbers as a range, if they are one."""
    step = heads[1] - heads[0] if len(heads) > 1 else 1
    found = range(heads[0], heads[-1] + 1, step) if step > 0 else range(0)
    return found if list(found) == list(heads) else None


def as_rows(t: Tensor) -> Rows:
    batch, heads, length, width = t.shape
    b, h, n, one = t.stride()
    reach = (batch - 1) * b + (heads - 1) * h + (length - 1) * n + width
    fits = one == 1 and not (b % width or h % width or n % width) and t.numel() and reach % width == 0
    if fits and not torch.compiler.is_compiling() and reach == t.numel():
        return Rows(t.as_strided((reach // width, width), (width, 1)), (b // width, h // width, n // width))
    return Rows(t.reshape(-1, width).contiguous(), (heads * length, length, 1))


def head_by_head(t: Tensor) -> tuple[int, int, int]:
    """The steps of a tensor (B, H, L, K) that lies in memory as it is written."""
    _, heads, length, _ = t.shape
    return heads * length, length, 1


def heads_last(q: Tensor) -> tuple[int, int, int]:
    """The steps of a result (B, H, L, V) that lies in memory as (B, L, H, V), as what follows wants it."""
    _, heads, length, _ = q.shape
    return heads * length, 1, heads


def turned(flat: Tensor, q: Tensor) -> Tensor:
    """Rows that lie as (B, L, H) to (B, H, L, ·)."""
    return flat.view(q.shape[0], q.shape[2], q.shape[1], flat.shape[1]).transpose(1, 2)


def by_pieces(t: Tensor) -> bool:
    """Whether to work piece by piece: on a CPU; other devices fill no cache, and a compiler plans for itself."""
    return t.device.type == "cpu" and not torch.compiler.is_compiling()


class Workspace:
    """Memory that pieces use one after the other, as the `out` of operations: on a CPU fresh memory costs as much as a pass
    over it. Other devices keep freed memory themselves; there, and where autograd keeps what is computed, it is None."""

    def __init__(self, like: Tensor, dtype: torch.dtype, used: bool = True):
        self.like, self.dtype, self.used = like, dtype, used and like.device.type == "cpu"
        self.kept: dict[str, Tensor] = {}

    def new(self, name: str, *shape: int) -> Tensor | None:
        """Memory under a name, whose last content is lost."""
        if not self.used:
            return None
        size = math.prod(shape)
        if name not in self.kept or self.kept[name].numel() < size:
            self.kept[name] = self.like.new_empty(size, dtype=self.dtype)
        return self.kept[name][:size].view(shape)

    def empty(self, name: str, *shape: int) -> Tensor:
        """The same, or fresh memory where none is kept."""
        kept = self.new(name, *shape)
        return self.like.new_empty(shape, dtype=self.dtype) if kept is None else kept

    def over(self, t: Tensor) -> Tensor | None:
        """The memory of a tensor that nobody needs any more."""
        return t if self.used else None
