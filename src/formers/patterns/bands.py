"""Patterns along the diagonal."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from formers.ops.sparse_attention import Fold, every_nth
from formers.part import Site, Unsupported
from formers.patterns.pattern import Pattern


class Span(Pattern):
    """i − behind·d ≤ j ≤ i + ahead·d with (i − j) mod d = 0, d the dilation."""

    behind: int = 16
    "Tokens that a query sees before its own."
    ahead: int = 0
    "Tokens that a query sees after its own."
    dilation: int = 1
    "Distance between the tokens that are seen."

    def check(self) -> None:
        if self.behind < 0 or self.ahead < 0 or self.dilation < 1:
            raise ValueError(f"{self}: behind and ahead must be at least 0 and dilation at least 1")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also for what a causal model would not see, and for a dilation of nothing."""
        super().check_site(site)
        if site.causal and self.ahead:
            raise Unsupported(f"{self}: ahead={self.ahead} has no effect in a causal model; leave it out")
        _check_dilation(self, self.dilation, self.behind + self.ahead, site)

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        back = q_idx - k_idx
        near = (back <= self.behind * self.dilation) & (back >= -self.ahead * self.dilation)
        return near if self.dilation == 1 else near & (back.remainder(self.dilation) == 0)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        least, most = q_lo - k_hi, q_hi - k_lo
        behind, ahead = self.behind * self.dilation, self.ahead * self.dilation
        every = (most <= behind) & (least >= -ahead)
        return (least <= behind) & (most >= -ahead), every if self.dilation == 1 else torch.zeros_like(every)

    def causal_form(self) -> Pattern:
        return Span(self.behind, 0, self.dilation)

    def folded(self, length: int) -> Fold | None:
        """Return the order by residue. Dilated, the pattern is a plain span among the tokens of each residue."""
        if self.dilation == 1 or length <= self.dilation:
            return None
        order_c = every_nth(length, self.dilation)
        return Fold(("every", self.dilation), order_c, Residues(len(order_c) // self.dilation, self.behind, self.ahead))

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return next_idx - k_idx <= self.behind * self.dilation

    def memory(self) -> int:
        return self.behind * self.dilation

    def sees_latest(self) -> bool:
        return self.dilation == 1

    def growth(self) -> float:
        return 1.0


class Window(Pattern):
    """|i − j| ≤ width; causal: i − width < j ≤ i, so that a query sees `width` tokens, itself included.

    With a dilation d: |i − j| ≤ width·d and (i − j) mod d = 0. Source: Beltagy et al. 2020 (Longformer),
    arXiv:2004.05150.
    """

    width: int = 32
    "Tokens to each side; causal: tokens back, the query's own included."
    dilation: int = 1
    "Distance between the tokens that are seen."

    def check(self) -> None:
        if self.width < 1 or self.dilation < 1:
            raise ValueError(f"{self}: width and dilation must be at least 1")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also for a dilation of nothing."""
        super().check_site(site)
        _check_dilation(self, self.dilation, self.width - site.causal, site)

    def _span(self) -> Span:
        return Span(self.width, self.width, self.dilation)

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self._span().mask(q_idx, k_idx)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        return self._span().bounds(q_lo, q_hi, k_lo, k_hi)

    def resolve(self, *, length: int, causal: bool) -> Pattern:
        return self.causal_form() if causal else self._span()

    def causal_form(self) -> Pattern:
        return Span(self.width - 1, 0, self.dilation)

    def folded(self, length: int) -> Fold | None:
        return self._span().folded(length)

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self.causal_form().recalled(k_idx, next_idx)

    def memory(self) -> int | None:
        return self.causal_form().memory()

    def growth(self) -> float:
        return 1.0


def _check_dilation(pattern: Pattern, dilation: int, others: int, site: Site) -> None:
    """Raise `Unsupported` for a dilation where a token sees none of so many others that are to be spread out."""
    if dilation > 1 and not others:
        raise Unsupported(f"{pattern}: dilation={dilation} has no effect, as a token sees itself alone; leave it out")
    if dilation >= site.context_length > 1:
        raise Unsupported(
            f"{pattern}: with dilation={dilation} a token sees itself alone, as the model's context_length is "
            f"{site.context_length}; use a smaller one"
        )


class Residues:
    """A span, or everything, among the places of the same residue, `count` places each."""

    def __init__(self, count: int, behind: int | None = None, ahead: int | None = None):
        self.count = count
        self.behind = count if behind is None else behind
        self.ahead = count if ahead is None else ahead

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        back = q_idx - k_idx
        return (back <= self.behind) & (back >= -self.ahead) & (q_idx // self.count == k_idx // self.count)

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        return self.mask

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        some, every = Span(self.behind, self.ahead).bounds(q_lo, q_hi, k_lo, k_hi)
        meet, one = same_cell(q_lo // self.count, q_hi // self.count, k_lo // self.count, k_hi // self.count)
        return some & meet, every & one


def same_cell(q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
    """Return whether the ranges [q_lo, q_hi] and [k_lo, k_hi] of ordered cells meet, and whether all is one cell."""
    return (q_lo <= k_hi) & (k_lo <= q_hi), (q_lo == k_hi) & (k_lo == q_hi)
