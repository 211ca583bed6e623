"""The Image Transformer's local attention."""

from __future__ import annotations

from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.sparse import Sparse, SparseMixer, check_patterns
from formers.part import Site
from formers.patterns import Local1D, Local2D, Pattern


class ImageLocal(Mixer):
    """Blocks of queries that see their own block and what lies around it, along the raster or as rectangles.

    O(L·memory). In the published code the sequence of a 2D image goes through one rectangle after the other, which is
    `local2d(order=blocks)`.

    Source: Parmar et al. 2018 (Image Transformer), arXiv:1802.05751.
    """

    added = {"bias": False}  # noqa: RUF012
    can = Sparse.can
    pattern: Pattern = Local1D(16, 32)
    "`local1d(block, memory_width)` or `local2d(height, width, block, halo)`."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        if not isinstance(self.pattern, (Local1D, Local2D)):
            raise ValueError(f"image_local: pattern must be local1d(…) or local2d(…), but {self.pattern} was given")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where an option of the pattern could have no effect."""
        super().check_site(site)
        check_patterns(self, self.patterns(site), site)

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        return (self.pattern,)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return SparseMixer(site, self.patterns(site), bias=self.bias)
