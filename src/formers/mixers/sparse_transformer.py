"""The Sparse Transformer's factorised attention."""

from __future__ import annotations

from typing import Literal

from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.sparse import Sparse, SparseMixer
from formers.part import Site
from formers.patterns import Fixed, Pattern, Strided


class SparseTransformer(Mixer):
    """Attention factorised into a local part and columns, `strided` for images and sound, `fixed` for text.

    The two factors go to different heads in turn (best in the paper), to the layers in turn, or merged into every head;
    they connect any two tokens in three layers. With l ≈ √L strided factors cost O(L√L); for L ≫ l² the columns take
    over, L²/l pairs, or c·L²/l where fixed. Merged strided factors cost as all pairs do, as every block of queries then
    needs every key.
    Source: Child et al. 2019, arXiv:1904.10509.
    """

    can = Sparse.can
    pattern: Pattern = Strided(16)
    "`strided(l)` or `fixed(l, c)`; its `factor` is chosen here."
    factors: Literal["heads", "layers", "merged"] = "heads"
    "Where the two factors go."

    def check(self) -> None:
        if not isinstance(self.pattern, (Strided, Fixed)) or self.pattern.factor != "merged":
            raise ValueError(
                f"sparse_transformer: pattern must be strided(l) or fixed(l, c) as a whole, but "
                f"{self.pattern} was given"
            )

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        assert isinstance(self.pattern, (Strided, Fixed))
        if self.factors == "merged":
            return (self.pattern,)
        both = (self.pattern.swap(factor="local"), self.pattern.swap(factor="columns"))
        return both if self.factors == "heads" and site.heads > 1 else (both[site.layer % 2],)

    def growth(self) -> float:
        """Return 1.5 for lengths up to about l², as the paper uses it; 2 in the end."""
        return 1.5 if isinstance(self.pattern, Strided) and self.factors != "merged" else 2.0

    def module(self, site: Site) -> MixerModule:
        return SparseMixer(site, self.patterns(site))
