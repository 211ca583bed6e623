"""Scores and weights of one tile of gathered attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.ops.common.row_index import RowIndex, Rows, as_rows, scaled_bmm
from formers.ops.common.workspace import Workspace
from formers.ops.sparse_attention.gathered_tiles import GatherPlan, GatherTile
from formers.ops.sparse_attention.pair_bias import PairBias


class TileTensors(NamedTuple):
    """Queries, keys and values of a tile, (p, l or s, K or V), for its p lists, and where they come from."""

    q: Tensor
    k: Tensor
    v: Tensor
    queries: RowIndex
    keys: RowIndex


class GatheredInputs:
    """Queries, keys and values as rows, from which tiles gather. With `keep`, nothing is written to shared buffers."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, mask_bs: Tensor | None, plan: GatherPlan, keep: bool = False):
        self.q, self.k, self.v, self.mask_bs, self.plan = as_rows(q), as_rows(k), as_rows(v), mask_bs, plan
        self.sharing = q.shape[1] // k.shape[1]
        self.dtype = torch.promote_types(q.dtype, torch.float32)
        self.every_row_sees = mask_bs is None and plan.bias is None  # block lists leave out queries that see nothing
        self.workspace = Workspace(q, self.dtype, enabled=not keep)

    def gather(self, tile: GatherTile) -> TileTensors:
        """Return the queries, keys and values of a tile."""
        queries, keys = tile.queries, tile.keys(self.sharing)
        q, k, v = self._rows("q", self.q, queries), self._rows("k", self.k, keys), self._rows("v", self.v, keys)
        return TileTensors(q, k, v, queries, keys)

    def _rows(self, name: str, of: Rows, index: RowIndex) -> Tensor:
        return of.gather(index, self.dtype, self.workspace, name)

    def scores(self, tile: GatherTile, tensors: TileTensors) -> Tensor:
        """Return scale·q kᵀ + bias, (p, l, s), −inf where a pair is hidden."""
        q, k, (_, rows, _), (_, keys, _) = tensors.q, tensors.k, tensors.q.shape, tensors.k.shape
        out = self.workspace.out("s", len(q), rows, keys)
        hidden = tile.group.hidden_uls
        if hidden is not None and len(hidden) == 1:  # one mask for all: added in the product itself
            start = q.new_zeros(rows, keys).masked_fill_(hidden[0], -torch.inf)
            s = torch.baddbmm(start.expand(len(q), -1, -1), q, k.mT, alpha=self.plan.scale, out=out)
        else:
            s = scaled_bmm(q, k.mT, self.plan.scale, out=out)
            if hidden is not None:
                some = hidden.index_select(0, tile.group.which_n[tile.n])
                s.view(-1, len(some), rows, keys).masked_fill_(some, -torch.inf)
        if self.plan.bias is not None:
            s.add_(_tile_bias(self.plan.bias, tile, s.dtype))
        if self.mask_bs is not None:
            real = tile.mask_of_keys(self.mask_bs)
            s.view(*real.shape[:2], rows, keys).masked_fill_(~real.unsqueeze(2), -torch.inf)
        return s

    def weights(self, s: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the softmax of every row, and which rows see a key at all, None if all do; the others are zeros."""
        if self.every_row_sees:
            return torch.softmax(s, 2, out=self.workspace.reuse(s)), None
        alive = s.amax(2, keepdim=True) > -torch.inf
        return s.masked_fill(~alive, 0).softmax(2).masked_fill(~alive, 0), alive


def log_sum_exp(s: Tensor) -> Tensor:
    """Return log Σ exp s of every row, −inf and without a gradient where nothing is seen."""
    dead = (s == -torch.inf).all(2)
    return s.masked_fill(dead.unsqueeze(2), 0).logsumexp(2).masked_fill(dead, -torch.inf)


def _tile_bias(bias: PairBias, tile: GatherTile, dtype: torch.dtype) -> Tensor:
    """Return the bias of a tile, all of one sequence, (p, l, s)."""
    added = bias(tile.batch[0], tile.group.q_nl[tile.n], tile.group.k_ns[tile.n]).transpose(0, 1)
    added = added.expand(len(tile.heads), *added.shape[1:]) if len(added) == 1 else added[list(tile.heads)]
    return added.flatten(0, 1).to(dtype)
