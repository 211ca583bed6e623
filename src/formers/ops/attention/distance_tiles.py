"""Tiles of some queries and the keys that any of them sees, where terms of scores go by distance.

In row i of a tile, the entry for distance d stands in column i + d: read with one more than the width of a row between
its rows, the memory of the scores is a matrix of queries × distances. Products with tables are made there and nothing
is gathered, copied or shifted. Distances that one row has and another has not lie in margins at both sides.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from formers.ops.attention.distance_terms import Visible
from formers.ops.common.workspace import Workspace

SCORES_AT_ONCE = 1 << 18
"""Scores worked on at once, so that they stay in the cache of a core from the product to the sum."""


class DistancePlan(NamedTuple):
    """Which pairs there are, and where the tables begin.

    Attributes:
        rows, keys: how many queries and keys.
        first: the distance of the first key from the first query.
        low: the distance of the tables' first entry; pairs before it have no term.
        seen: the distances that are seen.
        scale: of q·k.
    """

    rows: int
    keys: int
    first: int
    low: int
    seen: Visible
    scale: float

    def tiles(self) -> list[Tile]:
        """Return all tiles, the one of the most keys first, so that memory is made once."""
        step = 64 if min(self.keys, self.seen.most - self.seen.least + 1) <= 1024 else 128
        tiles = [self._tile(start, min(start + step, self.rows)) for start in range(0, self.rows, step)]
        return sorted(tiles, key=lambda tile: -tile.scores)

    def _tile(self, start: int, stop: int) -> Tile:
        least, most = (distance - self.first for distance in self.seen)
        begin = min(max(start + least, 0), self.keys)
        end = max(min(stop + most, self.keys), begin)
        low = max(self.low - self.first, begin - (stop - 1))
        high = max(min(most, end - 1 - start), low - 1)
        some = slice(low - (self.low - self.first), high + 1 - (self.low - self.first))
        seen = (least, most)
        if high < low:
            return Tile(slice(start, stop), slice(begin, end), some, 0, 0, 0, seen)
        left, right = max(begin - (start + low), 0), max(stop - 1 + high - (end - 1), 0)
        return Tile(slice(start, stop), slice(begin, end), some, left, right, start + low - begin + left, seen)


class Tile(NamedTuple):
    """Some queries, and the keys that any of them sees.

    Attributes:
        rows, keys: which; no keys where they see none.
        entries: of the tables, those that the tile's pairs have.
        left, right: columns of its margins.
        first_column: column of the first entry in the first row.
        seen: j − i of the pairs that are seen, from … to ….
    """

    rows: slice
    keys: slice
    entries: slice
    left: int
    right: int
    first_column: int
    seen: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Queries, and columns with the margins."""
        return self.rows.stop - self.rows.start, self.left + self.keys.stop - self.keys.start + self.right

    @property
    def scores(self) -> int:
        """The numbers that a head has in this tile, those in the margins included."""
        return self.shape[0] * self.shape[1]

    def memory(self, workspace: Workspace, name: str, heads: int) -> TileMemory:
        """Return memory for the scores of some heads, whatever it held before."""
        return TileMemory(self, workspace.empty(name, heads, *self.shape))

    def hide(self, scores_nls: Tensor) -> None:
        """Set the scores of pairs that are not seen to −∞: triangles at both ends of the keys."""
        start, stop, begin, end = self.rows.start, self.rows.stop, self.keys.start, self.keys.stop
        least, most = self.seen
        far, later = stop - 1 + least - begin, end - (start + most + 1)
        if far > 0:
            hidden = torch.ones(stop - start, min(far, end - begin), dtype=torch.bool).tril(start + least - begin - 1)
            scores_nls[..., :far].masked_fill_(hidden, -torch.inf)
        if later > 0:
            size = min(later, end - begin)
            hidden = torch.ones(stop - start, size, dtype=torch.bool).triu(size - later)
            scores_nls[..., end - begin - size :].masked_fill_(hidden, -torch.inf)


class TileMemory(NamedTuple):
    """Memory of a tile, (N, l, margins and keys)."""

    tile: Tile
    whole: Tensor

    @property
    def pairs(self) -> Tensor:
        """The tile by queries and keys, (N, l, s)."""
        return self.whole[..., self.tile.left : self.whole.shape[2] - self.tile.right]

    @property
    def distances(self) -> Tensor:
        """The tile by queries and distances, (N, l, n), those of the tile's entries."""
        heads, rows, width = self.whole.shape
        size = self.tile.entries.stop - self.tile.entries.start
        offset = self.whole.storage_offset() + self.tile.first_column
        return self.whole.as_strided((heads, rows, size), (rows * width, width + 1, 1), offset)

    def clear_margins(self) -> None:
        """Set the margins to 0, where `distances` has pairs that there are not."""
        self.whole[..., : self.tile.left].zero_()
        self.whole[..., self.whole.shape[2] - self.tile.right :].zero_()
