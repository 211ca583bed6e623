"""Blockwise self-attention."""

from __future__ import annotations

from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.sparse import SparseMixer
from formers.part import Site, Unsupported
from formers.patterns import Blockwise, Pattern

_MOST = 1 << 16
"""Blocks: their order is listed for each head."""


class BlockwiseAttention(Mixer):
    """n × n blocks; on most heads a block sees itself, on some the next one: L²/n pairs a head.

    Bidirectional only: in a causal model, a block that is to see a later one would see nothing.
    Source: Qiu et al. 2019 (BlockBERT), arXiv:1911.02972; 10:2 heads for two blocks, 8:2:2 for three, was best.
    """

    added = {"bias": False}  # noqa: RUF012
    can = frozenset({"bidirectional", "padding", "qk_position", "score_position", "relative"})
    blocks: int = 2
    "n."
    shifted: int = 1
    "Heads that take each of the other cyclic permutations, those by 1 to n − 1, as far as the heads go."
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        if not 1 <= self.blocks <= _MOST or self.shifted < 0:
            raise ValueError(f"{self}: blocks must be at least 1 and at most {_MOST:,}, and shifted at least 0")
        if self.blocks == 1 and self.shifted != type(self).shifted:
            raise ValueError(f"{self}: shifted is for several blocks, but blocks=1 was given")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where no head is left that sees its own block."""
        super().check_site(site)
        if self.blocks > 1 and self.shifted >= site.heads:
            raise Unsupported(
                f"{self}: {self.shifted} heads are to take a permutation, beside one that sees its own block, but the "
                f"model has {site.heads}; use more heads or a smaller shifted"
            )

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        each = min(self.shifted, site.heads)
        shifts = [shift for shift in range(1, min(self.blocks, site.heads)) for _ in range(each)][: site.heads - 1]
        shifts = [0] * (site.heads - len(shifts)) + shifts
        return tuple(Blockwise(tuple((b + shift) % self.blocks for b in range(self.blocks))) for shift in shifts)

    def growth(self) -> float:
        return 2.0

    def module(self, site: Site) -> MixerModule:
        return SparseMixer(site, self.patterns(site), bias=self.bias)
