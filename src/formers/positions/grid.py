"""Learned positions of pixels: a row and a column."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from formers.part import Site
from formers.positions.position import Position, farthest_position


class Grid(Position):
    """A trained vector per row of an image and one per column, added to the embedding or behind it.

    Token i stands for the pixel in row ⌊i/columns⌋ and column i mod columns: the raster order of one image, and nothing
    beyond it. The encoding is the row's vector, then the column's, each half of its width P: (rows + columns)·P/2
    parameters instead of the rows·columns·P of a vector per pixel. Source: coordinate embeddings of Parmar et al. 2018
    (Image Transformer), arXiv:1802.05751, section 3; concatenated as in Katharopoulos et al. 2020, arXiv:2006.16236,
    section 4.2.
    """

    acts_on = "input"
    extrapolates = False
    rows: int = 28
    "Rows of the image."
    columns: int = 28
    "Columns of the image."
    how: Literal["add", "concatenate"] = "add"
    "`add` to the embedding (P = D), or `concatenate` behind an embedding of D − P."
    width: int | None = None
    "P when concatenating; half the model width unless given."

    def check(self) -> None:
        if min(self.rows, self.columns) < 1:
            raise ValueError(f"{self}: an image has at least 1 row and 1 column")
        if self.how == "add" and self.width is not None:
            raise ValueError("grid(how='add') has the model's width; leave width out, or use how='concatenate'")

    def encoding_width(self, site: Site) -> int:
        """Return P. Raise ValueError where it has no room for both vectors, or leaves none for the embedding."""
        if self.how == "add":
            width, most = site.width, site.width
        else:
            width, most = site.width // 2 if self.width is None else self.width, site.width - 1
        if not 2 <= width <= most:
            raise ValueError(
                f"{self}: the encoding's width must be at least 2 and at most {most} in a model {site.width} wide, but "
                f"is {width}"
            )
        return width

    def embedding_width(self, site: Site) -> int:
        return site.width if self.how == "add" else site.width - self.encoding_width(site)

    def build(self, site: Site) -> nn.Module:
        return GridPosition(self, self.encoding_width(site))


class GridPosition(nn.Module):
    def __init__(self, part: Grid, width: int):
        super().__init__()
        self.part = part
        self.row = nn.Embedding(part.rows, width - width // 2)
        self.column = nn.Embedding(part.columns, width // 2)

    def forward(self, x_bld: Tensor, positions_bl: Tensor) -> Tensor:
        self.check(positions_bl)
        row_bl, column_bl = positions_bl // self.part.columns, positions_bl % self.part.columns
        encoding_blp = torch.cat([self.row(row_bl), self.column(column_bl)], -1)
        if self.part.how == "add":
            return x_bld + encoding_blp
        return torch.cat([x_bld, encoding_blp.expand(x_bld.shape[0], -1, -1)], -1)

    def check(self, positions_bl: Tensor) -> None:
        """Raise ValueError for a position that is no pixel of the image, where positions can be read."""
        pixels = self.part.rows * self.part.columns
        if (farthest := farthest_position(positions_bl, pixels)) >= pixels:
            raise ValueError(
                f"{self.part} has {pixels} pixels, but position {farthest} was asked for; give it the "
                "image's rows and columns"
            )
