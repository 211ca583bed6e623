"""Tiles of sorted tokens, the keys that they are compared with, and their scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from formers.ops.bucketed_attention.special_scores import HIDDEN_SCORE, SELF_SCORE
from formers.ops.bucketed_attention.tiling import Tiling
from formers.ops.common.workspace import Workspace, should_tile

SCORES_AT_ONCE = 1 << 19
"""Scores worked on at once on a CPU, so that they stay in its cache from the product to the sum."""
_LOG2_E = math.log2(math.e)
"""Scores are taken to base 2: on a CPU exp2 is several times faster than exp, which is slowest on what underflows."""


def heads_at_once(q_nlk: Tensor, tile: int) -> list[slice]:
    """Return which heads to work on at once, with tiles of so many tokens."""
    heads, length, _ = q_nlk.shape
    step = max(SCORES_AT_ONCE // (2 * length * tile), 1) if should_tile(q_nlk) else max(heads, 1)
    return [slice(i, i + step) for i in range(0, heads, step)]


class Tiles(NamedTuple):
    """Some tiles of a tensor (all tiles, T, ·), and the tiles of their keys.

    Attributes:
        which: a run of tiles, each compared with itself and the one before; or a list of tiles, each compared with the
            one two before.
    """

    which: slice | Tensor

    @property
    def near(self) -> bool:
        """Return True for a run: its pairs lie in one tile or in neighbours."""
        return isinstance(self.which, slice)

    def of(self, t_xtk: Tensor) -> Tensor:
        """Return the tiles, (x, T, ·)."""
        return t_xtk[self.which] if isinstance(self.which, slice) else t_xtk.index_select(0, self.which)

    def keys(self, t_xtk: Tensor) -> Tensor:
        """Return the tiles of their keys, (x, 2T or T, ·)."""
        if not isinstance(self.which, slice):
            return t_xtk.index_select(0, self.which - 2)
        tile, run = t_xtk.shape[1], t_xtk[self.which.start - 1 : self.which.stop].flatten(0, 1)
        windows = run.unfold(0, 2 * tile, tile)  # these overlap, without a copy
        return windows.mT if run.ndim > 1 else windows

    def put(self, whole_xtk: Tensor, some: Tensor) -> None:
        """Write what belongs to the tiles; a list adds it to what they got as a run."""
        if isinstance(self.which, slice):
            whole_xtk[self.which] = some
        else:
            whole_xtk.index_add_(0, self.which, some)

    def put_keys(self, whole_xtk: Tensor, some: Tensor) -> None:
        """Write or add what belongs to the keys. Runs come in order: a tile is written before the next adds to it."""
        if isinstance(self.which, slice):
            tile, before = whole_xtk.shape[1], slice(self.which.start - 1, self.which.stop - 1)
            whole_xtk[self.which] = some[:, tile:]
            whole_xtk[before] += some[:, :tile]
        else:
            whole_xtk.index_add_(0, self.which - 2, some)


class SortedRound:
    """Some heads in the order of one round, cut into tiles.

    Args:
        tiling: of these heads.
        r: which round.
        workspace: memory for what the next round overwrites.
    """

    def __init__(self, tiling: Tiling, r: int, workspace: Workspace):
        self.tiling, self.r, self.workspace = tiling, r, workspace
        heads, places = tiling.order_rnc.shape[1:]
        self.shape = (heads, places // tiling.tile, tiling.tile)
        self._order = tiling.order_rnc[r].flatten()
        first = torch.arange(0, heads * places, places, device=self._order.device)
        self._place = (tiling.place_rnl[r] + first.unsqueeze(1)).flatten()
        self._u_rxt = tiling.u_pnc[r * (r + 1) // 2 :][: r + 1].reshape(r + 1, -1, tiling.tile)
        self._middle_rxt = self._u_rxt - tiling.reach / 2

    def sort(self, name: str, whole: Tensor) -> Tensor:
        """Return these heads of (all heads, L, ·) in sorted order, (tiles, T, ·)."""
        width = whole.shape[-1]
        out = self.workspace.out(name, len(self._order), width)
        flat = torch.index_select(whole.view(-1, width), 0, self._order, out=out)
        return flat.view(-1, self.tiling.tile, width)

    def sort_keys(self, q_xtk: Tensor, k: Tensor | None) -> Tensor:
        """Return keys in sorted order, given the queries in it; without keys q/|q|."""
        return self.sort("k", k) if k is not None else unit(q_xtk, self.workspace.out("k", *q_xtk.shape))[0]

    def unsort(self, name: str, t_xtk: Tensor) -> Tensor:
        """Return (these heads, L, ·) in the order of positions."""
        width = t_xtk.shape[2]
        out = self.workspace.out(name, len(self._place), width)
        return torch.index_select(t_xtk.view(-1, width), 0, self._place, out=out).view(self.shape[0], -1, width)

    def tiles(self) -> Iterator[Tiles]:
        """Yield all tiles, in runs; then those whose first bucket begins two tiles before."""
        heads, each, tile = self.shape
        step = max(SCORES_AT_ONCE // (2 * tile**2), 1) if self.workspace.enabled else heads * each
        for start in range(1, heads * each, step):
            yield Tiles(slice(start, min(start + step, heads * each)))
        if self.tiling.back == 2:
            u_nxt = self._u_rxt[self.r].view(self.shape)
            far_nx = pad(u_nxt[:, 2:, 0] - u_nxt[:, :-2, -1] <= self.tiling.reach, (2, 0))
            for which in far_nx.flatten().nonzero().squeeze(1).split(2 * step):
                yield Tiles(which)

    def scores(self, tiles: Tiles, q: Tensor, k: Tensor) -> Tensor:
        """Return q kᵀ·scale·log₂ e for pairs that meet here and met in no earlier round; HIDDEN_SCORE for others."""
        tiling, half = self.tiling, self.tiling.reach / 2
        *earlier, here = [self._apart(tiles, r) for r in range(self.r + 1)]
        s = here.gt_(half).to(q.dtype)  # 1 for what is hidden: masks of numbers are faster than those of truth values
        if earlier:
            nearest = earlier[0]
            for other in earlier[1:]:
                nearest = torch.minimum(nearest, other, out=self.workspace.reuse(nearest))
            s += nearest.le_(half)
        s.baddbmm_(q, k.mT, beta=HIDDEN_SCORE, alpha=tiling.scale * _LOG2_E)
        if tiling.self_last and self.r == 0 and tiles.near:
            s.diagonal(tiling.tile, -2, -1).fill_(SELF_SCORE * _LOG2_E)
        return s

    def _apart(self, tiles: Tiles, r: int) -> Tensor:
        """Return how far, in a round, a pair lies from the middle of those that meet: at most reach/2 if it meets."""
        u_q, u_k = tiles.of(self._middle_rxt[r]).unsqueeze(2), tiles.keys(self._u_rxt[r]).unsqueeze(1)
        out = self.workspace.out(f"u {self.r - r}", *u_q.shape[:2], u_k.shape[2])
        return torch.sub(u_q, u_k, out=out).abs_()


def unit(x: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return x/|x| and 1/|x|, finite where x = 0."""
    shrink = torch.mul(x, x, out=out).sum(-1, keepdim=True).add_(1e-12).rsqrt_()
    return torch.mul(x, shrink, out=out), shrink
