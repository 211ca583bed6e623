"""BigBird."""

from __future__ import annotations

from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.sparse import SparseMixer, check_patterns
from formers.part import Site
from formers.patterns import Edges, Ends, Neighbours, Pattern, Random


class BigBird(Mixer):
    """A window of blocks, global tokens and random blocks: O(L), and any two tokens connected in a few layers.

    Random blocks are a function of seed, layer and number of blocks: the same in training and evaluation, and a short
    batch never becomes full attention. The published code draws anew and switches. Random blocks may fall on what is
    seen anyway. They are the same in all heads, where the published code draws others for each (`per_head`). Source:
    Zaheer et al. 2020, arXiv:2007.14062; there blocks of 64, a window of 3 blocks and 3 random ones.
    """

    added = {"per_head": False, "bias": False}  # noqa: RUF012
    can = frozenset({"causal", "bidirectional", "padding", "qk_position", "score_position", "relative"})
    block: int = 16
    "Tokens in a block."
    radius: int = 1
    "Blocks to each side in the window; 1 is a window of 3."
    random: int = 3
    "Random blocks per query block."
    first: int | None = None
    "Number of first tokens that are global (ETC); None: the first and the last block are (ITC), the first when causal."
    seed: int = 0
    "Seed of the random blocks, together with the layer."
    per_head: bool = False
    "Whether every head has random blocks of its own, as published, or all the same."
    bias: bool = False
    "Whether the projections have one."

    @classmethod
    def name(cls) -> str:
        return "bigbird"

    def check(self) -> None:
        if self.block < 1 or self.radius < 0 or self.random < 0 or (self.first is not None and self.first < 1):
            raise ValueError(f"{self}: block and first must be at least 1, radius and random at least 0")
        if not self.random and (self.seed != type(self).seed or self.per_head):
            raise ValueError(f"{self}: seed and per_head are for random blocks, but random=0 was given")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where all tokens are global."""
        super().check_site(site)
        if self.first is not None:
            check_patterns(self, (Ends(self.first),), site)

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        pattern = Neighbours(self.block, self.radius) | (Edges(self.block) if self.first is None else Ends(self.first))
        if not self.random:
            return (pattern,)
        heads = range(site.heads if self.per_head else 1)
        return tuple(pattern | Random(self.random, self.seed, self.block, layer=site.layer, head=h) for h in heads)

    def growth(self) -> float:
        return 1.0

    def module(self, site: Site) -> MixerModule:
        return SparseMixer(site, self.patterns(site), bias=self.bias)
