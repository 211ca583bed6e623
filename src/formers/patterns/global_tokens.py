"""Patterns of tokens that see everything and are seen from everywhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from formers.part import Site, Unsupported
from formers.patterns.pattern import Pattern
from formers.patterns.tables import table_on

_FEW = 8
"""Fewer tokens are compared one by one, more are looked up."""


class Global(Pattern):
    """i ∈ index or j ∈ index: some tokens see all and are seen by all; a sequence that ends before one has none there.

    Source: Beltagy et al. 2020 (Longformer), arXiv:2004.05150; Ainslie et al. 2020 (ETC), arXiv:2004.08483.
    """

    index: int | tuple[int, ...] = 0
    "Which tokens, counted from 0; one or a list."

    def check(self) -> None:
        if not self._tokens() or min(self._tokens()) < 0:
            raise ValueError(f"{self}: index must name at least one token, counted from 0")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also for a token that is never there."""
        super().check_site(site)
        if self._tokens()[-1] >= site.context_length:
            raise Unsupported(
                f"{self}: token {self._tokens()[-1]} is never there, as the model's context_length is "
                f"{site.context_length}; name tokens below that, or raise it"
            )

    def _tokens(self) -> tuple[int, ...]:
        return tuple(sorted({self.index} if isinstance(self.index, int) else set(self.index)))

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return self._named(q_idx) | self._named(k_idx)

    def _named(self, idx: Tensor) -> Tensor:
        found = idx == self._tokens()[0]
        if len(self._tokens()) < _FEW:
            for token in self._tokens()[1:]:
                found = found | (idx == token)
            return found
        named = table_on(self, idx.device)
        return named[idx.clamp(max=len(named) - 1)]

    def table(self) -> Tensor:
        """Return True for the tokens that are global, with a place more for all behind the last of them."""
        named = torch.zeros(self._tokens()[-1] + 2, dtype=torch.bool)
        named[list(self._tokens())] = True
        return named

    def mask_on(self, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
        if len(self._tokens()) < _FEW:
            return self.mask
        named = table_on(self, device)
        last = len(named) - 1
        return lambda q_idx, k_idx: named[q_idx.clamp(max=last)] | named[k_idx.clamp(max=last)]

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        q_some, q_every = self._within(q_lo, q_hi)
        k_some, k_every = self._within(k_lo, k_hi)
        return q_some | k_some, q_every | k_every

    def _within(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether some, and all, of the tokens lo … hi are global."""
        tokens = torch.tensor(self._tokens())
        count = torch.searchsorted(tokens, hi.contiguous(), right=True) - torch.searchsorted(tokens, lo.contiguous())
        return count > 0, count == hi - lo + 1

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return self._named(k_idx) | (next_idx <= self._tokens()[-1])

    def memory(self) -> int:
        return self._tokens()[-1] + 1

    def growth(self) -> float:
        return 1.0


class EtcPattern(Pattern):
    """The first tokens are a global input, the others a long one: global sees all, long sees global and its neighbours.

    The pieces g2g, g2l and l2g are full, l2l is |i − j| ≤ radius. A sequence of fewer tokens is all global input. With
    `segment` g2l is hard: global token g sees the g-th `segment` long tokens alone, which all see it.
    Source: Ainslie et al. 2020 (ETC), arXiv:2004.08483.
    """

    added = {"segment": None}  # noqa: RUF012
    tokens: int = 8
    "Tokens of the global input."
    radius: int = 16
    "How far a long token sees to each side among the long ones."
    segment: int | None = None
    "Long tokens that each global one sees, in order; all unless given."

    @classmethod
    def name(cls) -> str:
        """Return `etc`: the class is named apart from the mixer that looks at this pattern."""
        return "etc"

    def check(self) -> None:
        if self.tokens < 1 or self.radius < 0 or (self.segment is not None and self.segment < 1):
            raise ValueError(f"{self}: tokens and segment must be at least 1 and radius at least 0")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where all is global input."""
        super().check_site(site)
        if self.tokens >= site.context_length:
            raise Unsupported(
                f"{self}: {self.tokens} tokens are all of the model's context_length of {site.context_length}, which "
                "leaves no long input; use fewer, or raise it"
            )

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        near = (q_idx - k_idx).abs() <= self.radius
        if self.segment is None:
            return (q_idx < self.tokens) | (k_idx < self.tokens) | near
        own = (k_idx - self.tokens).div(self.segment, rounding_mode="floor") == q_idx
        return (k_idx < self.tokens) | torch.where(q_idx < self.tokens, own, near)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        least, most = q_lo - k_hi, q_hi - k_lo
        some = (q_lo < self.tokens) | (k_lo < self.tokens) | ((least <= self.radius) & (most >= -self.radius))
        near = (most <= self.radius) & (least >= -self.radius)
        if self.segment is None:
            return some, (q_hi < self.tokens) | (k_hi < self.tokens) | near
        return some, (k_hi < self.tokens) | (near & (q_lo >= self.tokens))

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return (k_idx < self.tokens) | (next_idx - k_idx <= self.radius)

    def memory(self) -> int:
        return self.tokens + self.radius

    def growth(self) -> float:
        return 1.0


class Sinks(Pattern):
    """j < count: every token sees the first few, but these do not see all, unlike global ones: `window(64) | sinks(4)`.

    Trained causal models attend to their first tokens for want of anything else to attend to; a window that drops them
    ruins such a model, and with them it hardly changes.
    Source: Xiao et al. 2023 (StreamingLLM), arXiv:2309.17453.
    """

    count: int = 4
    "How many tokens at the start every token sees."

    def check(self) -> None:
        if self.count < 1:
            raise ValueError(f"{self}: count must be at least 1")

    def check_site(self, site: Site) -> None:
        """Raise `Unsupported` also where the sinks are all there is."""
        super().check_site(site)
        if self.count >= site.context_length:
            raise Unsupported(
                f"{self}: {self.count} tokens are all of the model's context_length of {site.context_length}; use "
                "fewer, or raise it"
            )

    def mask(self, q_idx: Tensor, k_idx: Tensor) -> Tensor:
        return (k_idx < self.count) | torch.zeros_like(q_idx, dtype=torch.bool)

    def bounds(self, q_lo: Tensor, q_hi: Tensor, k_lo: Tensor, k_hi: Tensor) -> tuple[Tensor, Tensor]:
        none = torch.zeros_like(q_lo, dtype=torch.bool)
        return (k_lo < self.count) | none, (k_hi < self.count) | none

    def recalled(self, k_idx: Tensor, next_idx: Tensor) -> Tensor:
        return (k_idx < self.count) | torch.zeros_like(next_idx, dtype=torch.bool)

    def memory(self) -> int:
        return self.count

    def growth(self) -> float:
        return 1.0
