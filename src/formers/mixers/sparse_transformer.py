"""The Sparse Transformer's factorised attention."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from formers.mixers.context import Context
from formers.mixers.mixer import Mixer, MixerModule
from formers.mixers.sparse import Sparse, SparseMixer, check_patterns
from formers.part import Site, State, Unsupported
from formers.patterns import Fixed, Pattern, Strided


class SparseTransformer(Mixer):
    """Attention factorised into a local part and columns, `strided` for images and sound, `fixed` for text.

    The two factors go to different heads in turn (best in the paper), to the layers in turn, or merged into every head;
    they connect any two tokens in three layers. With l ≈ √L strided factors cost O(L√L); for L ≫ l² the columns take
    over, L²/l pairs, or c·L²/l where fixed. Merged strided factors cost as all pairs do, as every block of queries then
    needs every key. In a fixed pattern all heads see the same c tokens of a block, where the paper found it better that
    each sees others (`distinct`).
    Source: Child et al. 2019, arXiv:1904.10509.
    """

    added = {"distinct": False, "recompute": False, "bias": False}  # noqa: RUF012
    can = Sparse.can
    pattern: Pattern = Strided(16)
    "`strided(l)` or `fixed(l, c)`; its `factor` is chosen here."
    factors: Literal["heads", "layers", "merged"] = "heads"
    "Where the two factors go."
    distinct: bool = False
    "Whether heads with a fixed pattern's columns see other groups of c tokens of a block in turn, the last ones first."

    recompute: bool = False
    """Whether training keeps the input of the attention alone and computes the rest again in the backward pass, as
    published: less memory, one more forward pass, the same numbers."""
    bias: bool = False
    "Whether the projections have one."

    def check(self) -> None:
        if not isinstance(self.pattern, (Strided, Fixed)) or self.pattern.factor != "merged":
            raise ValueError(
                f"sparse_transformer: pattern must be strided(l) or fixed(l, c) as a whole, but "
                f"{self.pattern} was given"
            )
        if self.distinct and not isinstance(self.pattern, Fixed):
            raise ValueError(f"{self}: distinct is for fixed(l, c), whose blocks have groups of c tokens to share out")
        if self.distinct and self.pattern.swap(group=0) != self.pattern:
            raise ValueError(f"{self}: distinct takes the groups of the pattern in turn; leave its own group out")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where one head is to take both factors, or heads have nothing to share out."""
        super().check_site(site)
        if self.factors == "heads" and site.heads == 1:
            raise Unsupported(
                f"{self}: factors='heads' gives the two factors to different heads, but the model has one head; use "
                "factors='layers' or 'merged'"
            )
        check_patterns(self, (self.pattern,), site)
        assert isinstance(self.pattern, (Strided, Fixed))
        if self.distinct and len(self.shared_out(self.pattern, self.heads_with_columns(site))) == 1:
            raise Unsupported(
                f"{self}: distinct has no effect where one head has columns, or a block holds one group of tokens; use "
                "more heads or a smaller summary"
            )

    def patterns(self, site: Site) -> tuple[Pattern, ...]:
        """Return the patterns of one layer, which its heads take in turn."""
        assert isinstance(self.pattern, (Strided, Fixed))
        if self.factors == "merged":
            return self.shared_out(self.pattern, self.heads_with_columns(site))
        local, columns = self.pattern.swap(factor="local"), self.pattern.swap(factor="columns")
        if self.factors == "heads":
            groups = self.shared_out(columns, self.heads_with_columns(site))
            return tuple(pattern for one in groups for pattern in (local, one))
        return self.shared_out(columns, self.heads_with_columns(site)) if site.layer % 2 else (local,)

    def heads_with_columns(self, site: Site) -> int:
        """Return how many heads of a layer have columns."""
        return site.heads // 2 if self.factors == "heads" else site.heads

    def shared_out(self, columns: Pattern, heads: int) -> tuple[Pattern, ...]:
        """Return the patterns that so many heads with columns take in turn: one, unless their tokens are distinct."""
        if not isinstance(columns, Fixed) or not self.distinct:
            return (columns,)
        groups = min(heads, columns.block // columns.summary)
        return tuple(columns.swap(group=group) for group in range(groups))

    def growth(self) -> float:
        """Return 1.5 for lengths up to about l², as the paper uses it; 2 in the end."""
        return 1.5 if isinstance(self.pattern, Strided) and self.factors != "merged" else 2.0

    def module(self, site: Site) -> MixerModule:
        module = RecomputedSparseMixer if self.recompute else SparseMixer
        return module(site, self.patterns(site), bias=self.bias)


class RecomputedSparseMixer(SparseMixer):
    """Attention over patterns whose projections, scores and results are made again in the backward pass."""

    def mix(self, context: Context) -> tuple[Tensor, State | None]:
        if not (self.training and torch.is_grad_enabled()):
            return super().mix(context)
        mixed: tuple[Tensor, State | None] = checkpoint(
            super().mix, context, use_reentrant=False, preserve_rng_state=False
        )
        return mixed
