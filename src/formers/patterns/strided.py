"""The patterns of the Sparse Transformer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from formers.ops.sparse_attention import Fold, every_nth
from formers.part import Site, Unsupported
from formers.patterns.bands import Residues, Span
from formers.patterns.chunks import Chunk
from formers.patterns.combined import Either
from formers.patterns.pattern import Pattern


class _Factorised(Pattern):
    """A pattern that is another name for a combination of simpler ones."""

    def parts(self) -> Pattern:
        """Return the same pattern from simpler ones."""
        raise NotImplementedError

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        return self.parts().resolve(length=length, causal=causal)

    def causal_form(self) -> Pattern:
        return self.parts().causal_form()

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self.parts().mask(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return self.parts().bounds(q_lo, q_hi, k_lo, k_hi)

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.parts().recalled(k_idx, next_idx)

    def memory(self) -> int | None:
        return self.parts().memory()

    def growth(self) -> float:
        return self.parts().growth()


class Strided(_Factorised):
    """The last `stride` tokens (local), every stride-th token (columns), or both in one (merged).

    A¹: |i − j| ≤ l; A²: (i − j) mod l = 0; causal: also j ≤ i. The paper takes l close to √L and uses A¹ and A² in
    turn over layers, in one head (merged), or on different heads, which was best. The columns cost L²/l pairs; merged,
    whole blocks of them. Source: Child et al. 2019, arXiv:1904.10509.
    """

    stride: int = 16
    "l."
    factor: Literal["merged", "local", "columns"] = "merged"
    "A¹, A², or their union."

    def check(self) -> None:
        if self.stride < 1:
            raise ValueError(f"{self}: stride must be at least 1")

    def parts(self) -> Pattern:
        """Return the same pattern from simpler ones."""
        local, columns = Span(self.stride, self.stride), Columns(self.stride)
        return {"merged": Either(local, columns), "local": local, "columns": columns}[self.factor]


class Columns(Pattern):
    """(i − j) mod stride = 0."""

    stride: int = 16
    "Distance between the tokens that are seen."

    def check(self) -> None:
        if self.stride < 1:
            raise ValueError(f"{self}: stride must be at least 1")

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return (q_idx - k_idx).remainder(self.stride) == 0

    def folded(self, length: int) -> Fold | None:
        """Return the order by residue, in which the pattern is everything among the tokens of a residue."""
        stride = max(min(self.stride, length), 1)  # beyond the sequence, each token is alone
        order_c = every_nth(length, stride)
        return Fold(("every", stride), order_c, Residues(len(order_c) // stride))


class Fixed(_Factorised):
    """The tokens of the query's block (local), the last `summary` tokens of every block (columns), or both (merged).

    A¹: ⌊j/l⌋ = ⌊i/l⌋; A²: l − c·(g + 1) ≤ j mod l < l − c·g, the last c tokens for g = 0; causal: also j ≤ i. The paper
    found it better that heads take other g (`sparse_transformer(distinct=True)`).
    Source: Child et al. 2019 (Sparse Transformer), arXiv:1904.10509: l ∈ {128, 256}, c ∈ {8, 16, 32}.
    """

    added = {"group": 0}  # noqa: RUF012
    block: int = 32
    "l, tokens in a block."
    summary: int = 4
    "c, tokens at the end of each block that are seen from everywhere."
    factor: Literal["merged", "local", "columns"] = "merged"
    "A¹, A², or their union."
    group: int = 0
    "g, which c tokens, counted in groups from the end of the block."

    def check(self) -> None:
        Summaries(self.block, self.summary, self.group)  # has its own conditions

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also for summaries where there are none."""
        super().check_site(site)
        given = self.group != type(self).group or self.summary != min(type(self).summary, self.block)
        if self.factor == "local" and given:
            raise Unsupported(f"{self}: summary and group have no effect with factor='local'; leave them out")

    def parts(self) -> Pattern:
        """Return the same pattern from simpler ones."""
        local, columns = Chunk(self.block), Summaries(self.block, self.summary, self.group)
        return {"merged": Either(local, columns), "local": local, "columns": columns}[self.factor]


class Summaries(Pattern):
    """j mod block ≥ block − summary: the last tokens of every block, or those right before them, seen from everywhere.

    In general block − summary·(group + 1) ≤ j mod block < block − summary·group.
    """

    added = {"group": 0}  # noqa: RUF012
    block: int = 32
    "Tokens in a block."
    summary: int = 4
    "Tokens of each block that are seen."
    group: int = 0
    "Which tokens, counted in groups of `summary` from the end of the block."

    def check(self) -> None:
        if not 1 <= self.summary <= self.block:
            raise ValueError(f"{self}: summary must be at least 1 and at most block")
        if not 0 <= self.group < self.block // self.summary:
            raise ValueError(f"{self}: there are groups 0 to {self.block // self.summary - 1} of {self.summary} tokens")

    @property
    def first(self) -> int:
        """Place in its block of the first token that is seen."""
        return self.block - self.summary * (self.group + 1)

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        place = k_idx % self.block - self.first
        return (place >= 0) & (place < self.summary) & (q_idx >= 0)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        inside = self.up_to(k_hi) - self.up_to(k_lo - 1)
        anyone = torch.ones_like(q_lo, dtype=torch.bool)
        return (inside > 0) & anyone, (inside == k_hi - k_lo + 1) & anyone

    def up_to(self, idx: Tensor) -> Tensor:
        """Return how many tokens up to this one are seen."""
        whole = (idx + 1).div(self.block, rounding_mode="floor")
        return whole * self.summary + ((idx + 1).remainder(self.block) - self.first).clamp(0, self.summary)

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.mask(next_idx, k_idx)
